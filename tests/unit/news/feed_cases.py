"""The cases: payloads of our own making, each with what it must give. Generated where a family differs in one thing."""

# ruff: noqa: E501 - a payload is read best on one line
from __future__ import annotations

import gzip
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A payload and what comes of it; None where it does not matter."""

    name: str
    data: bytes
    titles: list[str] | None = None
    texts: list[str] | None = None
    urls: list[str] | None = None
    dates: list[str] | None = None
    errors: int = 0
    refused: str = ""  # a pattern of the sentence
    content_type: str = ""
    kind: str = ""


LINK = "https://news.garam.example/a/1"
TITLE = "한국 경제, 올해 2% 성장"
CASES: list[Case] = []
KIND = ""


def add(name: str, data: str | bytes, **expected: object) -> None:
    """One more case."""
    CASES.append(Case(name, data.encode() if isinstance(data, str) else data, kind=KIND, **expected))  # type: ignore[arg-type]


def item(title: str = f"<title>{TITLE}</title>", link: str = f"<link>{LINK}</link>", rest: str = "") -> str:
    """An RSS item."""
    return f"<item>{title}{link}{rest}</item>"


def rss(
    *items: str, head: str = "", declaration: str = '<?xml version="1.0" encoding="UTF-8"?>', version: str = "2.0"
) -> str:
    """An RSS feed."""
    spaces = 'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    return f'{declaration}<rss version="{version}" {spaces}><channel><title>가람</title>{head}{"".join(items)}</channel></rss>'


def atom(*entries: str) -> str:
    """An Atom feed."""
    return (
        f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>가람</title>{"".join(entries)}</feed>'
    )


GOOD = {"titles": [TITLE], "urls": [LINK]}

# ---------------------------------------------------------------- versions
KIND = "versions"
for version in ("0.90", "0.91", "0.92", "0.93", "0.94", "2.0", "2.01", "9", ""):
    add(f"rss version {version!r}", rss(item(), version=version), **GOOD)
add("rss without declaration", rss(item(), declaration=""), **GOOD)
add(
    "rdf 1.0",
    '<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><channel><title>x</title></channel>'
    + f'<item rdf:about="{LINK}"><title>{TITLE}</title><link>{LINK}</link></item></rdf:RDF>',
    **GOOD,
)
add(
    "rdf 0.9",
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://my.netscape.com/rdf/simple/0.9/"><channel><title>x</title></channel>'
    + item()
    + "</rdf:RDF>",
    **GOOD,
)
add("atom 1.0", atom(f'<entry><title>{TITLE}</title><link href="{LINK}"/><id>1</id></entry>'), **GOOD)
add(
    "atom 0.3",
    f'<feed version="0.3" xmlns="http://purl.org/atom/ns#"><entry><title>{TITLE}</title><link rel="alternate" href="{LINK}"/></entry></feed>',
    **GOOD,
)
add(
    "atom with self and alternate",
    atom(
        f'<entry><title>{TITLE}</title><link rel="self" href="https://x.example/s"/><link rel="alternate" href="{LINK}"/></entry>'
    ),
    **GOOD,
)
add(
    "atom with enclosure only",
    atom(f"<entry><title>{TITLE}</title><link rel='enclosure' href='https://x.example/m.mp3'/><id>{LINK}</id></entry>"),
    **GOOD,
)
add(
    "atom with xhtml",
    atom(
        f'<entry><title>{TITLE}</title><link href="{LINK}"/><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>본문</p></div></content></entry>'
    ),
    **GOOD,
    texts=["본문"],
)
add(
    "atom title as html",
    atom(f'<entry><title type="html">&lt;b&gt;굵은&lt;/b&gt; 제목</title><link href="{LINK}"/></entry>'),
    titles=["굵은 제목"],
)
add(
    "atom published before updated",
    atom(
        f'<entry><title>{TITLE}</title><link href="{LINK}"/><updated>2026-02-04T00:00:00Z</updated><published>2026-02-03T00:00:00Z</published></entry>'
    ),
    dates=["2026-02-03T00:00:00Z"],
)
add("empty feed", rss(), titles=[])
add("empty atom", atom(), titles=[])
add("two items", rss(item(), item(link="<link>/a/2</link>")), urls=[LINK, "https://news.garam.example/a/2"])

# ---------------------------------------------------------------- encodings
KIND = "encodings"
for codec in ("utf-8", "utf-8-sig", "cp949", "euc-kr", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
    for declared in ("UTF-8", "EUC-KR", "ks_c_5601-1987", "iso-8859-1", "windows-1252", "nonsense", ""):
        text = rss(item(), declaration=f'<?xml version="1.0" encoding="{declared}"?>' if declared else "")
        add(f"{codec} declared as {declared or 'nothing'}", text.encode(codec), **GOOD)
for declared in ("EUC-KR", "utf-8", "iso-8859-1", '"euc-kr"', "x"):
    add(
        f"cp949 with content type {declared}",
        rss(item(), declaration="").encode("cp949"),
        content_type=f"text/xml; charset={declared}",
        **GOOD,
    )
add(
    "cp949 beyond euc-kr",
    rss(item("<title>똠방각하 펲시콜라</title>"), declaration='<?xml version="1.0" encoding="euc-kr"?>').encode(
        "cp949"
    ),
    titles=["똠방각하 펲시콜라"],
)
add(
    "utf-8 with one broken byte",
    rss(item()).encode().replace("성장".encode(), "성".encode() + b"\xec\x9e"),
    urls=[LINK],
)
add("byte order mark twice", b"\xef\xbb\xbf\xef\xbb\xbf" + rss(item()).encode(), **GOOD)
add("space before the declaration", "\n\n  " + rss(item()), **GOOD)
add("control characters", rss(item("<title>한국 경제,\x01\x08\x0b 올해 2% 성장</title>")), **GOOD)
add("null characters", rss(item()).replace("한국", "한\x00국"), **GOOD)
add("references to control characters", rss(item("<title>한국 경제,&#1;&#x0b; 올해 2% 성장</title>")), **GOOD)
add(
    "iso-2022-kr", rss(item(), declaration='<?xml version="1.0" encoding="iso-2022-kr"?>').encode("iso-2022-kr"), **GOOD
)

# ---------------------------------------------------------------- titles and texts
KIND = "titles and texts"
for name, written, read in [
    ("cdata", f"<![CDATA[{TITLE}]]>", TITLE),
    ("cdata with a bracket too many", f"<![CDATA[{TITLE}]]]>", TITLE + "]"),
    ("two cdata", "<![CDATA[한국 경제,]]><![CDATA[ 올해 2% 성장]]>", TITLE),
    ("html", "<![CDATA[<b>한국 경제</b>, 올해 2% 성장]]>", "한국 경제 , 올해 2% 성장"),
    ("escaped html", "&lt;b&gt;굵게&lt;/b&gt;", "굵게"),
    ("double-escaped html", "&amp;lt;b&amp;gt;굵게&amp;lt;/b&amp;gt;", "굵게"),
    ("entity", "A &amp; B", "A & B"),
    ("double-escaped entity", "A &amp;amp; B", "A & B"),
    ("double-escaped apostrophe", "&amp;#039;청와대 셰프&amp;#039;", "'청와대 셰프'"),
    ("html entity in xml", "가&nbsp;나&hellip;", "가 나…"),
    ("unknown entity", "가 &nosuch; 나", "가 &nosuch; 나"),
    ("bare ampersand", "삼성 & LG", "삼성 & LG"),
    ("angle brackets of a headline", "<![CDATA[<단독> 뉴스]]>", "<단독> 뉴스"),
    ("less than", "<![CDATA[3 < 5 라면]]>", "3 < 5 라면"),
    ("script", "<![CDATA[제목<script>alert(1)</script>]]>", "제목"),
    ("escaped script", "제목&lt;script&gt;alert(1)&lt;/script&gt;", "제목"),
    ("line breaks", "한국\n  경제", "한국 경제"),
    ("emoji", "🚀 발사", "🚀 발사"),
    ("quotes", "&quot;인용&quot; &#8216;홑&#8217;", '"인용" ‘홑’'),
    ("image in a title", "<![CDATA[<img src=x onerror=alert(1)>제목]]>", "제목"),
    ("comment in a title", "<![CDATA[제<!-- 숨은 -->목]]>", "제목"),
]:
    add(f"title: {name}", rss(item(f"<title>{written}</title>")), titles=[read])
for name, written, read in [
    ("paragraphs", "<![CDATA[<p>하나.</p><p>둘.</p>]]>", "하나. 둘."),
    ("breaks", "<![CDATA[하나.<br>둘.<br/>셋.]]>", "하나. 둘. 셋."),
    (
        "table with an image",
        "<![CDATA[<table width=10><tr><td><img src=https://a.example/1.jpg></td></tr></table>본문]]>",
        "본문",
    ),
    ("unclosed tag at the end", '<![CDATA[본문<a href="https://a.exa]]>', "본문"),
    ("style", "<![CDATA[<style>p{color:red}</style>본문]]>", "본문"),
    ("caption", "<![CDATA[<figure><img src=x><figcaption>사진 설명</figcaption></figure>본문]]>", "본문"),
    ("iframe", "<![CDATA[<iframe src='https://x.example'></iframe>본문]]>", "본문"),
    ("unclosed script", "<![CDATA[본문<script>alert(1)]]>", "본문"),
    (
        "nested script",
        "<![CDATA[본문<scr<script></script>ipt>alert(1)</script>]]>",
        "본문 ipt>alert(1)",
    ),  # as HTML5 has it
    ("unclosed iframe", "<![CDATA[본문 <iframe src='https://x.example'>끝]]>", "본문 끝"),
    ("unclosed form after a closed one", "<![CDATA[앞 <form>x</form>본문 <FORM action=x>끝]]>", "앞 본문 끝"),
    ("nested deeper than the parser goes", "<![CDATA[" + "<b>" * 1000 + "본문]]>", "본문"),
    ("svg", "<![CDATA[<svg onload=alert(1)><text>x</text></svg>본문]]>", "본문"),
    ("empty", "", ""),
    ("only spaces", "<![CDATA[  \n ]]>", ""),
    ("comment unclosed", "<![CDATA[본문<!-- 끝이 없다]]>", "본문"),
    ("attributes with angle brackets escaped", '<![CDATA[<a title="&lt;b&gt;">본문</a>]]>', "본문"),
]:
    add(f"text: {name}", rss(item(rest=f"<description>{written}</description>")), texts=[read])
add(
    "the longer of description and content",
    rss(
        item(rest="<description>짧다</description><content:encoded><![CDATA[<p>이것이 더 길다</p>]]></content:encoded>")
    ),
    texts=["이것이 더 길다"],
)
add(
    "title missing, text there",
    rss(item("", rest="<description>본문만 있다</description>")),
    titles=[""],
    texts=["본문만 있다"],
)
add("title and text missing", rss(item("")), titles=[], errors=1)
add(
    "bad item between good ones",
    rss(item(), item(""), item(link="<link>/a/3</link>")),
    urls=[LINK, "https://news.garam.example/a/3"],
    errors=1,
)

# ---------------------------------------------------------------- links
KIND = "links"
for name, written, read in [
    ("relative", "<link>/a/1</link>", LINK),
    ("relative without a slash", "<link>a/1</link>", LINK),
    ("without scheme", "<link>//news.garam.example/a/1</link>", LINK),
    ("cdata", f"<link><![CDATA[{LINK}]]></link>", LINK),
    ("spaces around", f"<link>\n  {LINK}\n</link>", LINK),
    ("broken over lines", "<link>https://news.garam.example/\n  a/1</link>", LINK),
    ("escaped query", "<link>https://news.garam.example/v?a=1&amp;b=2</link>", "https://news.garam.example/v?a=1&b=2"),
    ("bare ampersand", "<link>https://news.garam.example/v?a=1&b=2</link>", "https://news.garam.example/v?a=1&b=2"),
    ("guid instead", f"<guid>{LINK}</guid>", LINK),
    ("guid that is no link", f"<link>{LINK}</link><guid isPermaLink='false'>77</guid>", LINK),
    (
        "original of a proxy",
        f"<link>https://feeds.example/~r/1</link><feedburner:origLink xmlns:feedburner='http://rssnamespace.org/feedburner/ext/1.0'>{LINK}</feedburner:origLink>",
        LINK,
    ),
    ("upper case scheme", "<link>HTTPS://news.garam.example/a/1</link>", "HTTPS://news.garam.example/a/1"),
]:
    add(f"link: {name}", rss(item(link=written)), urls=[read] if name != "upper case scheme" else None)
for name, written in [
    ("none", ""), ("empty", "<link></link>"), ("javascript", "<link>javascript:alert(1)</link>"),
    ("data", "<link>data:text/html,x</link>"), ("file", "<link>file:///etc/passwd</link>"), ("mail", "<link>mailto:a@b.example</link>"),
    ("too long", f"<link>https://a.example/{'x' * 3000}</link>"), ("bad port", "<link>https://a.example:port/1</link>"),
    ("bad host", "<link>https://[::1/1</link>"), ("guid no link", "<guid isPermaLink='false'>77</guid>"),
]:  # fmt: skip
    add(f"link: {name} is an error of the item", rss(item(link=written), item()), urls=[LINK], errors=1)

# ---------------------------------------------------------------- dates
KIND = "dates"
for name, written, read in [
    ("pubDate", "<pubDate>Tue, 03 Feb 2026 15:04:05 +0900</pubDate>", "Tue, 03 Feb 2026 15:04:05 +0900"),
    ("dc:date", "<dc:date>2026-02-03T15:04:05+09:00</dc:date>", "2026-02-03T15:04:05+09:00"),
    ("korean", "<pubDate>2026년 2월 3일 오후 3:04</pubDate>", "2026년 2월 3일 오후 3:04"),
    ("none", "", ""),
    ("empty", "<pubDate></pubDate>", ""),
    ("nonsense", "<pubDate>어제</pubDate>", "어제"),
    ("cdata", "<pubDate><![CDATA[2026-02-03 15:04]]></pubDate>", "2026-02-03 15:04"),
]:
    add(f"date: {name}", rss(item(rest=written)), dates=[read])

add(
    "date: no date where it should be, one beside it",
    rss(item(rest="<pubDate>방금 전</pubDate><dc:date>2026-02-03T15:04:05+09:00</dc:date>")),
    dates=["2026-02-03T15:04:05+09:00"],
)

# ---------------------------------------------------------------- broken XML and hostile payloads
KIND = "broken and hostile"
add("unclosed item", rss(item()).replace("</item>", ""), **GOOD)
add("unclosed feed", rss(item())[:-20], **GOOD)
add("tags crossed", rss("<item><title><b>" + TITLE + "</title></b>" + f"<link>{LINK}</link></item>"), urls=[LINK])
add("attribute without quotes", rss(item()).replace('version="2.0"', "version=2.0"), **GOOD)
add("undeclared namespace", rss(item(rest="<media:thumbnail url='x'/>")), **GOOD)
add("junk after the feed", rss(item()) + "<!-- cached --><script>x</script>", **GOOD)
add("junk before the feed", "Warning: mysql_connect() in /var/www on line 3\n" + rss(item()), **GOOD)
add("declaration in the middle", "\n<br/>" + rss(item()), **GOOD)
add("upper case tags", rss(item()).replace("<item>", "<ITEM>").replace("</item>", "</ITEM>"), **GOOD)
BOMB = (
    '<!DOCTYPE z [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1 or str()};" * 10}">' for i in range(1, 12))
    + "]>"
)
add(
    "entity bomb",
    rss(item(rest="<description>&a11;</description>")).replace("<rss", BOMB + "<rss"),
    **GOOD,
    texts=["&a11;"],
)
add(
    "quadratic entity",
    rss(item(rest=f"<description>{'&a;' * 1000}</description>")).replace(
        "<rss", f'<!DOCTYPE z [<!ENTITY a "{"x" * 100000}">]><rss'
    ),
    **GOOD,
    texts=["&a;" * 1000],
)
add(
    "external entity",
    rss(item(rest="<description>&x;</description>")).replace(
        "<rss", '<!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss'
    ),
    **GOOD,
    texts=["&x;"],
)
add(
    "external document type",
    rss(item()).replace("<rss", '<!DOCTYPE rss PUBLIC "-//N//DTD RSS 0.91//EN" "http://127.0.0.1:9/rss.dtd"><rss'),
    **GOOD,
)
add(
    "parameter entity",
    rss(item()).replace("<rss", '<!DOCTYPE z [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]><rss'),
    **GOOD,
)
add("document type with a > in quotes", rss(item()).replace("<rss", '<!DOCTYPE z [<!ENTITY a "]>">]><rss'), **GOOD)
add("document type never closed", rss(item()).replace("<rss", "<!DOCTYPE z [\n<rss"), **GOOD)
add(
    "deeply nested",
    rss(item(rest="<description>" + "<b>" * 3000 + "x" + "</b>" * 3000 + "</description>")),
    urls=[LINK],
)
add("many attributes", rss(item(rest="<x " + " ".join(f'a{i}="1"' for i in range(5000)) + "/>")), **GOOD)
add("a very long title", rss(item(f"<title>{'가' * 50000}</title>")), titles=["가" * 1000])
add("a very long text", rss(item(rest=f"<description>{'가나 ' * 200000}</description>")), **GOOD)
add("many unclosed tags in a text", rss(item(rest=f"<description><![CDATA[{'<a ' * 30000}]]></description>")), **GOOD)
add("many open comments in a text", rss(item(rest=f"<description><![CDATA[{'<!--' * 30000}]]></description>")), **GOOD)
add("many scripts in a text", rss(item(rest=f"<description><![CDATA[{'<script>' * 5000}]]></description>")), **GOOD)
add("many ampersands", rss(item(rest=f"<description>{'&amp;' * 30000}</description>")), **GOOD)
add("processing instruction", rss(item()).replace("<channel>", "<?php echo 1 ?><channel>"), **GOOD)
add(
    "stylesheet instruction", rss(item()).replace("<rss", '<?xml-stylesheet href="x.xsl" type="text/xsl"?><rss'), **GOOD
)

for pace in ("inf", "-inf", "nan", "1e308", "1e400", "-5", "한 시간"):
    add(f"a pace of {pace}", rss(item(), head=f"<ttl>{pace}</ttl>"), **GOOD)

# ---------------------------------------------------------------- what is no feed
KIND = "no feed"
for name, data, sentence in [
    ("nothing", b"", "empty"), ("only spaces", b" \n ", "empty"), ("plain text", b"hello", "plain text"),
    ("html page", b"<!doctype html><html><head><title>x</title></head><body>x</body></html>", "HTML page"),
    ("html page of an error", b"<html><body><h1>502 Bad Gateway</h1></body></html>", "HTML page"),
    ("other xml", b"<?xml version='1.0'?><note><to>x</to></note>", "no RSS"),
    ("broken json", b'{"items": [', "JSON and is not"), ("json without items", b'{"error": 1}', "list of items"),
    ("a list of json", b"[1, 2]", "list of items"), ("deep json", b"[" * 100_000, "cannot be read|JSON"),
    ("image", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no RSS|plain text"),
    ("sitemap index", b'<?xml version="1.0"?><sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><sitemap><loc>x</loc></sitemap></sitemapindex>', "index of sitemaps"),
]:  # fmt: skip
    add(f"no feed: {name}", data, refused=sentence)


# ---------------------------------------------------------------- JSON Feed
KIND = "JSON Feed"


def json_feed(*items: object, **rest: object) -> str:
    """A JSON Feed."""
    return json.dumps(
        {"version": "https://jsonfeed.org/version/1.1", "title": "가람", "items": list(items), **rest},
        ensure_ascii=False,
    )


add(
    "json feed",
    json_feed(
        {
            "id": "1",
            "url": LINK,
            "title": TITLE,
            "content_html": "<p>본문</p>",
            "date_published": "2026-02-03T15:04:05+09:00",
        }
    ),
    **GOOD,
    texts=["본문"],
    dates=["2026-02-03T15:04:05+09:00"],
)
add("json feed relative", json_feed({"url": "/a/1", "title": TITLE}), **GOOD)
add("json feed id as link", json_feed({"id": LINK, "title": TITLE}), **GOOD)
add(
    "json feed odd items",
    json_feed(None, 1, "x", [], {"url": LINK, "title": TITLE}, {"url": 5, "title": {}}),
    **GOOD,
    errors=5,
)
add(
    "json feed odd fields",
    json_feed({"url": LINK, "title": TITLE, "tags": "x", "content_html": 5, "date_published": []}),
    **GOOD,
)
add("json feed with a mark", "\ufeff" + json_feed({"url": LINK, "title": TITLE}), **GOOD)

# ---------------------------------------------------------------- news sitemaps
KIND = "sitemaps"
MAP = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:news="http://www.google.com/schemas/sitemap-news/0.9">{}</urlset>'
ROW = f"<url><loc>{LINK}</loc><news:news><news:publication><news:name>가람</news:name></news:publication><news:publication_date>2026-02-03T15:04:05+09:00</news:publication_date><news:title>{TITLE}</news:title></news:news></url>"
add("news sitemap", '<?xml version="1.0"?>' + MAP.format(ROW), **GOOD, dates=["2026-02-03T15:04:05+09:00"])
add("news sitemap with cdata", MAP.format(ROW.replace(TITLE, f"<![CDATA[{TITLE}]]>")), **GOOD)
add("news sitemap without a title", MAP.format(ROW + f"<url><loc>{LINK}2</loc></url>"), **GOOD, errors=1)
add("news sitemap broken", MAP.format(ROW + "<url><loc>https://a.example/&bad</loc>"), urls=[LINK], errors=1)
add("news sitemap with a bomb", BOMB + MAP.format(ROW), **GOOD)
add("news sitemap in a gzip file", gzip.compress(MAP.format(ROW).encode(), mtime=0), **GOOD)
add("news sitemap in a gzip file cut off", gzip.compress(MAP.format(ROW * 9).encode(), mtime=0)[:-12], urls=[LINK] * 9)
add("a bomb of a gzip file", gzip.compress(b"<urlset>" + b" " * 30_000_000, mtime=0), refused="more than 20,000,000")
add("a gzip file that is none", b"\x1f\x8b" + MAP.format(ROW).encode(), **GOOD)
