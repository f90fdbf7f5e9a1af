# ruff: noqa: E501 - a sentence a line
"""What the pages say, in English and Korean. What the pipeline recorded stays as it was recorded."""

from __future__ import annotations

KOREAN = {
    "Overview": "현황",
    "Feeds": "피드",
    "Automatic promotion is paused: {} (operate: resume lifts it)": "자동 승격이 멈춰 있습니다: {} (operate의 resume으로 풉니다)",
    "Generation {} is live: model {}, index {}, since {}.": "{}세대가 서비스 중입니다: 모델 {}, 색인 {}, {}부터.",
    "No generation is live yet: no candidate has passed the gate.": "아직 서비스 중인 세대가 없습니다: 관문을 통과한 후보가 없습니다.",
    "Decisions": "판정",
    "day": "날짜",
    "model": "모델",
    "verdict": "판정",
    "why": "이유",
    "promote": "승격",
    "reject": "기각",
    "pass": "통과",
    "FAIL": "실패",
    "None yet.": "아직 없습니다.",
    "Trends": "유행어",
    "Trends of {}": "{}의 유행어",
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
    "{} feeds: {}.": "피드 {}개: {}.",
    "Silent outlets": "소식이 끊긴 매체",
    "{}: nothing new since {}; usually at most {} between two articles.": "{}: {} 이후 새 기사가 없습니다. 보통은 늦어도 {}마다 옵니다.",
    "{}: nothing new since {}.": "{}: {} 이후 새 기사가 없습니다.",
    "{}: it has never brought an article.": "{}: 기사를 가져온 적이 없습니다.",
    "Add a feed": "피드 추가",
    "Address": "주소",
    "Outlet": "매체",
    "Category": "분야",
    "Add": "추가",
    "Disable": "끄기",
    "Enable": "켜기",
    "Try now": "지금 시도",
    "outlet": "매체",
    "category": "분야",
    "state": "상태",
    "interval": "간격",
    "last ok": "최근 성공",
    "last new": "최근 새 기사",
    "articles": "기사",
    "last poll": "최근 수집",
    "what is wrong": "문제",
    "ok": "정상",
    "doubtful": "확인 필요",
    "failing": "실패",
    "failing {} times": "실패 {}회",
    "quarantined": "격리",
    "quarantined until {}": "{}까지 격리",
    "disabled": "꺼짐",
    "waiting": "대기",
    "{} items, {} new": "{}건 중 새 기사 {}건",
    "items of the last answer: {}": "최근 응답의 항목: {}건",
    "{} min": "{}분",
    "{} h": "{}시간",
    "never": "없음",
    "There is no feed yet: add one, or let the next crawl take the list that is shipped.": "아직 피드가 없습니다: 하나를 추가하거나, 다음 수집이 기본 목록을 넣을 때까지 기다리세요.",
    "All": "전체",
    "Only what needs a look": "확인할 것만",
    "This cannot be done: {}": "처리할 수 없습니다: {}",
    "You may look at this, not change it: triggering `operate` is not allowed to you.": "볼 수만 있습니다: `operate`를 실행할 권한이 없습니다.",
}


class Words:
    """Says things in one language: ``ko`` or ``en``."""

    def __init__(self, language: str = "en") -> None:
        self.language = language if language in ("en", "ko") else "en"

    def __call__(self, sentence: str, *values: object) -> str:
        """The sentence with its values in place. Neither is escaped here."""
        return (KOREAN[sentence] if self.language == "ko" else sentence).format(*values)

    @classmethod
    def of(cls, chosen: str | None, accepts: str | None) -> Words:
        """The language that was chosen, else the one that the browser likes best of the two."""
        if chosen in ("en", "ko"):
            return cls(chosen)
        liked = [part.split(";")[0].strip()[:2].lower() for part in (accepts or "").split(",")]
        return cls(next((one for one in liked if one in ("en", "ko")), "en"))
