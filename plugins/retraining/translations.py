# ruff: noqa: E501 - a sentence a line
"""The sentences of the pages in Korean; the templates have them in English. Recorded text is shown as it was recorded."""

from __future__ import annotations

KOREAN = {
    "Overview": "현황",
    "Feeds": "피드",
    "Automatic promotion is paused: {} (operate: resume lifts it)": "자동 승격이 멈춰 있습니다: {} (operate의 resume으로 해제)",
    "Generation {} is live: model {}, index {}, since {}.": "{}세대가 서비스 중입니다: 모델 {}, 색인 {}, 시작 {}.",
    "No generation is live yet: no candidate has passed the gate.": "아직 서비스 중인 세대가 없습니다: 게이트를 통과한 후보가 없습니다.",
    "day": "날짜",
    "model": "모델",
    "verdict": "판정",
    "why": "이유",
    "promote": "승격",
    "reject": "기각",
    "pass": "통과",
    "FAIL": "미통과",
    "None yet.": "아직 없습니다.",
    "Trends": "급상승 단어",
    "Trends of {}": "{}의 급상승 단어",
    "word": "단어",
    "new": "새 단어",
    "Synonym groups": "동의어 묶음",
    "words": "단어",
    "confidence": "신뢰도",
    "Deployments": "배포 기록",
    "when": "시각",
    "what": "동작",
    "generation": "세대",
    "who": "실행자",
    "Silent outlets": "소식이 끊긴 매체",
    "{}: nothing new since {}; usually at most {} between two articles.": "{}: {} 이후 새 기사가 없습니다. 보통은 늦어도 {}마다 옵니다.",
    "{}: nothing new since {}.": "{}: {} 이후 새 기사가 없습니다.",
    "Add a feed": "피드 추가",
    "Address": "주소",
    "Outlet": "매체",
    "Category": "분야",
    "Add": "추가",
    "Disable": "끄기",
    "Enable": "켜기",
    "Delete…": "삭제…",
    "Delete for good": "완전히 삭제",
    "The feed is in the list. The next crawl polls it.": "피드가 목록에 있습니다. 다음 수집 때 가져옵니다.",
    "The feed is enabled. The next crawl polls it.": "피드를 켰습니다. 다음 수집 때 가져옵니다.",
    "The feed is disabled. Its articles stay.": "피드를 껐습니다. 기사는 그대로 남습니다.",
    "The feed is deleted. Its articles stay.": "피드를 삭제했습니다. 기사는 그대로 남습니다.",
    "Try now": "지금 시도",
    "outlet": "매체",
    "category": "분야",
    "state": "상태",
    "interval": "간격",
    "articles": "기사",
    "last poll": "최근 수집",
    "ok": "정상",
    "doubtful": "확인 필요",
    "failing": "실패",
    "failing {} times": "실패 {}회",
    "quarantined": "격리",
    "quarantined until {}": "{}까지 격리",
    "disabled": "꺼짐",
    "waiting": "대기",
    "{} items, {} new": "{}건 중 새 기사 {}건",
    "{} min": "{}분",
    "{} h": "{}시간",
    "never": "없음",
    "All": "전체",
    "This cannot be done: {}": "처리할 수 없습니다: {}",
    "In service": "서비스 상태",
    "Round of {}: {}": "{} 회차: {}",
    "Newest round: {}": "최신 회차: {}",
    "Days with a round:": "회차가 있는 날:",
    "Other rounds": "다른 회차",
    "Model {}.": "모델 {}.",
    "No model has been evaluated yet.": "아직 평가한 모델이 없습니다.",
    "No model of {} has been evaluated.": "{}에 평가한 모델이 없습니다.",
    "“{}” is not a day: a day is written as 2026-11-03.": "“{}”은(는) 날짜가 아닙니다. 2026-11-03처럼 적습니다.",
    "Deployment approved by {}.": "{}의 승인으로 배포합니다.",
    "Deployment refused by {}.": "{}의 거절로 배포하지 않습니다.",
    "Deployment refused: nobody responded in time.": "제한 시간 안에 응답이 없어 배포하지 않습니다.",
    "Waits for an approval: Required Actions in the Airflow UI.": "승인을 기다립니다. Airflow UI의 필수 작업에서 응답하세요.",
    "rebuild": "재색인",
    "rollback": "롤백",
    "weights": "질의 가중치",
    "{} feeds:": "피드 {}개:",
    "{}: no article yet.": "{}: 아직 기사가 없습니다.",
    "last success": "최근 성공",
    "last new article": "최근 새 기사",
    "problem": "문제",
    "items of the last response: {}": "최근 응답에서 문제가 있는 항목: {}건",
    "There is no feed yet: add one, or the next crawl adds the list that comes with Garam.": "아직 피드가 없습니다. 하나를 추가하거나, 다음 수집이 기본 목록을 넣을 때까지 기다리세요.",
    "Only those with problems": "문제가 있는 것만",
    "You may read this page but not change feeds: that takes the permission to trigger `operate`.": "볼 수만 있습니다. 피드를 바꾸려면 `operate`를 실행할 권한이 필요합니다.",
}


class Translation:
    """Puts sentences into one language: ``ko`` or ``en``."""

    def __init__(self, language: str = "en") -> None:
        self.language = language if language in ("en", "ko") else "en"

    def __call__(self, sentence: str, *values: object) -> str:
        """The sentence with its values in place. Nothing is escaped here: the templates do."""
        return (KOREAN[sentence] if self.language == "ko" else sentence).format(*values)

    @classmethod
    def choose(cls, chosen: str | None, accepted: str | None) -> Translation:
        """The language that was chosen, else the first of the two in ``Accept-Language``."""
        if chosen in ("en", "ko"):
            return cls(chosen)
        preferred = [part.split(";")[0].strip()[:2].lower() for part in (accepted or "").split(",")]
        return cls(next((language for language in preferred if language in ("en", "ko")), "en"))
