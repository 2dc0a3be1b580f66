"""What comes into a mailbox is read for what it is, whoever wrote it and with whatever program."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage

import pytest

from activities.mail.absence import back_at
from activities.mail.quotes import own_words
from activities.mail.reading import ReadMail, UnreadableMailError, read, read_isolated
from common.mail import MailKind
from tests.support.mail.mails import (
    ADDRESS,
    LETTER_ID,
    TOKEN,
    dsn,
    exim_bounce,
    mail,
    odd_dsn,
    qmail_bounce,
    raw,
)

NOW = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)
OWN = "Yes, Tuesday suits me.\nAt ten?"
QUOTED = "> Hello,\n> does Tuesday suit you?\n>> earlier\n"


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        f"{OWN}\n\nOn Mon, 3 Aug 2026 at 09:00, Ann's agents <agents@example.com> wrote:\n{QUOTED}",
        f"{OWN}\n\nOn Mon, 3 Aug 2026 at 09:00, Ann's agents <{ADDRESS}>\nwrote:\n\n{QUOTED}",
        f"On Mon, 3 Aug 2026 at 09:00, Ann's agents <agents@example.com> wrote:\n{QUOTED}\n{OWN}\n",
        f"{QUOTED}\n{OWN}",
        f"{OWN}\n\nAm Mo., 3. Aug. 2026 um 09:00 Uhr schrieb Ann <agents@example.com>:\n\n{QUOTED}",
        f"{OWN}\n\nLe lun. 3 août 2026 à 09:00, Ann <agents@example.com> a écrit :\n\n{QUOTED}",
        f"{OWN}\n\n________________________________\nFrom: Ann <agents@example.com>\nSent: Monday, August 3\n"
        "To: Bob <bob@example.com>\nSubject: A talk\n\nHello,\ndoes Tuesday suit you?\n",
        f"{OWN}\n\n-----Original Message-----\nFrom: Ann <a@example.com>\nSent: Monday\nTo: Bob\n\nHello\n",
        f"{OWN}\n\nVon: Ann <a@example.com>\nGesendet: Montag, 3. August\nAn: Bob\nBetreff: hi\n\nHallo\n",
        f"{OWN}\n\n-----Ursprüngliche Nachricht-----\nHallo\n",
        f"{OWN}\n\n-- \nBob B\nExample Ltd\n",
        f"{OWN}\n\nSent from my iPhone\n",
        f"{OWN}\n\nVon meinem iPhone gesendet\n\nOn Aug 3, at 09:00, Ann <a@example.com> wrote:\n\n{QUOTED}",
        f"{OWN}\r\n\r\nOn 3 Aug 2026, Ann <a@example.com> wrote:\r\n{QUOTED}".replace("\n>", "\r\n>"),
    ],
    ids=[
        *("plain", "gmail", "gmail wrapped", "below the quote", "below a bare quote", "german", "french"),
        *(
            "outlook",
            "old outlook",
            "german outlook",
            "german original",
            "signature",
            "phone",
            "apple",
            "crlf",
        ),
    ],
)
def test_quotes_and_signatures_are_cut(text: str) -> None:
    """Above, below, or by whatever program: what is left is what the author wrote."""
    assert own_words(text) == OWN


def test_answers_between_quotes_are_all_kept() -> None:
    text = (
        "See below.\n\nOn 3 Aug 2026, Ann <a@example.com> wrote:\n> Tuesday?\nYes.\n> At ten?\nAt eleven.\n"
    )
    assert own_words(text).split("\n") == ["See below.", "Yes.", "At eleven."]


@pytest.mark.parametrize(
    "text",
    [
        "Hi Ann,\n\nThanks, I would love to.\nTuesday is fine.",
        "Best wishes from Rome!\n- Tuesday\n- or Friday",
    ],
)
def test_what_only_looks_like_a_signature_stays(text: str) -> None:
    assert own_words(text) == text


def test_a_mail_of_nothing_but_quotes_is_shown_whole() -> None:
    assert own_words(QUOTED) == QUOTED.strip()


@pytest.mark.parametrize(
    "quote",
    [
        '<div class="gmail_quote"><div>On Monday Ann wrote:<br></div><blockquote>Hello</blockquote></div>',
        '<blockquote type="cite"><div>On Aug 3 Ann wrote:</div><div>Hello</div></blockquote>',
        '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Ann</div><div>Hello</div>',
        '<div class="moz-cite-prefix">On Monday Ann wrote:</div><blockquote type="cite">Hello</blockquote>',
        '<div style="border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Ann<br><b>Sent:</b> Monday<br><b>To:</b>'
        " Bob<br><b>Subject:</b> hi</p></div><p>Hello</p>",
    ],
    ids=["gmail", "apple", "outlook", "thunderbird", "desktop outlook"],
)
def test_html_alone_is_read_without_its_quotes(quote: str) -> None:
    found = read(
        mail("", f"<html><body><style>p {{}}</style><p>Yes,&nbsp;Tuesday.</p><p>At ten?</p>{quote}"), NOW
    )
    assert found.text == "Yes, Tuesday.\nAt ten?"


@pytest.mark.parametrize(
    ("body", "content", "encoding"),
    [
        ("Grüße aus Köln".encode(), "text/plain; charset=utf-8", "8bit"),
        ("Grüße aus Köln".encode("latin-1"), "text/plain; charset=iso-8859-1", "8bit"),
        ("Grüße aus Köln".encode("cp1252"), "text/plain; charset=windows-1252", "8bit"),
        ("Grüße aus Köln".encode("utf-16"), "text/plain; charset=utf-16", "8bit"),
        (b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln", "text/plain; charset=utf-8", "quoted-printable"),
        (b"R3LDvMOfZSBhdXMgS8O2bG4=", "text/plain; charset=utf-8", "base64"),
        ("Grüße aus Köln".encode(), "text/plain", "8bit"),
        ("Grüße aus Köln".encode(), "text/plain; charset=x-unknown-9", "8bit"),
        ("Grüße aus Köln".encode(), "text/plain; charset=us-ascii", "8bit"),
    ],
)
def test_the_words_are_read_in_whatever_character_set(body: bytes, content: str, encoding: str) -> None:
    """Named rightly, wrongly, or not at all."""
    assert read(raw(body, content, encoding), NOW).text == "Grüße aus Köln"


def test_an_answer_says_who_when_and_which_letter() -> None:
    found = read(mail(Subject="=?utf-8?q?Re=3A_=C3=84pfel=0D=0ABcc=3A_eve=40example=2Ecom?="), NOW)
    assert found.kind is MailKind.ANSWER
    assert (found.message_id, found.sender) == ("<answer-1@example.com>", "bob@example.com")
    assert found.subject == "Re: Äpfel Bcc: eve@example.com"
    assert (found.addressed, found.references) == ((TOKEN,), (TOKEN,))


def test_case_is_passed_over_in_addresses() -> None:
    found = read(mail(Delivered_To=ADDRESS.upper(), In_Reply_To=LETTER_ID.upper(), To=""), NOW)
    assert (found.addressed, found.references) == ((TOKEN,), (TOKEN,))


AWAY = [
    ("I am out of the office until 14 August.", (2026, 8, 15)),
    ("I'm away until August 14th, 2026. In urgent cases call Eve.", (2026, 8, 15)),
    ("I will be back in the office on Monday, August 17, 2026.", (2026, 8, 17)),
    ("I am out until Aug 14 and will return on Aug 17.", (2026, 8, 17)),
    ("I'll be back on Monday.", (2026, 8, 10)),
    ("Back in 2 weeks!", (2026, 8, 17)),
    ("I am on leave from 3 August to 14 August 2026 with no mail.", (2026, 8, 15)),
    ("Out of office through 2026-08-14", (2026, 8, 15)),
    ("I am away until 08/14/2026", (2026, 8, 15)),
    ("Ich bin bis einschließlich 14. August nicht im Büro.", (2026, 8, 15)),
    ("Ich bin bis zum 14.08.2026 abwesend und ab dem 17.08.2026 wieder erreichbar.", (2026, 8, 17)),
    ("Ich bin am Montag, den 17. August wieder zurück.", (2026, 8, 17)),
    ("Je suis absent jusqu'au 14 août 2026.", (2026, 8, 15)),
    ("Je serai de retour le 17 août.", (2026, 8, 17)),
    ("Estoy fuera de la oficina hasta el 14 de agosto.", (2026, 8, 15)),
    ("Sono assente fino al 14 agosto.", (2026, 8, 15)),
    ("Ik ben afwezig tot en met 14 augustus.", (2026, 8, 15)),
    ("Estarei ausente até 14 de agosto.", (2026, 8, 15)),
    ("Until January 4 I read no mail.", (2027, 1, 5)),
    ("Out of the office until 14.8.2026.", (2026, 8, 15)),
    ("Ich bin bis zum 14.8. abwesend", (2026, 8, 15)),
    ("Back on Fr., 14.08.26", (2026, 8, 14)),
    ("Je suis absent jusqu'au 14/8/2026", (2026, 8, 15)),
    ("Afwezig tot en met 14-08-2026", (2026, 8, 15)),
    ("Jestem nieobecny do 14 sierpnia 2026", (2026, 8, 15)),
    ("Wracam do biura 17 sierpnia", (2026, 8, 17)),
    ("Jsem mimo kancelář do 14. srpna", (2026, 8, 15)),
    ("Jag är borta till och med 14 augusti", (2026, 8, 15)),
    ("Jeg er tilbage den 14. august", (2026, 8, 14)),
    ("Jeg er ikke på kontoret før 14. august", (2026, 8, 14)),
    ("Меня не будет до 14 августа", (2026, 8, 15)),
    ("Вернусь 17 августа", (2026, 8, 17)),
    ("I am out of the office until further notice.", None),
    ("I was away until 1 August 2020.", None),
    ("I am away until 14 August 2036.", None),
    ("I am out of the office. Call me back.", None),
    ("until until until 99.99.9999", None),
    ("until back " * 2000, None),
]


@pytest.mark.parametrize(("text", "until"), AWAY)
def test_until_when_somebody_is_away(text: str, until: tuple[int, int, int] | None) -> None:
    """Relative to the mail's own day and zone; the last day away is still away; within a year."""
    zone = timezone(timedelta(hours=2))
    expected = None if until is None else datetime(*until, tzinfo=zone)
    assert back_at(text, NOW.astimezone(zone)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-replied; owner-email=bob@example.com"},
        {"X_Autoreply": "yes"},
        {"Precedence": "auto_reply"},
        {"Subject": "Automatic reply: A talk on Tuesday?"},
        {"Subject": "Automatische Antwort: A talk"},
        {"Subject": "=?utf-8?q?R=C3=A9ponse_automatique_=3A_A_talk?="},
        {"Subject": "Out of Office: A talk"},
        {"Auto_Submitted": "auto-generated", "Subject": "[Ticket 12] A talk"},
    ],
)
def test_what_a_machine_answers_counts_as_out_of_office(headers: dict[str, str]) -> None:
    found = read(mail("I am away until 14 August.\n", **headers), NOW)
    assert found.kind is MailKind.OUT_OF_OFFICE
    assert found.back_at == datetime(2026, 8, 15, tzinfo=timezone(timedelta(hours=2)))
    assert found.addressed == (TOKEN,)


@pytest.mark.parametrize(
    ("text", "subject", "day"),
    [
        (
            "I am away until 14 August.\n\nOn 3 Aug, Ann <a@example.com> wrote:\n> Back on 5 August?\n",
            "Re: hi",
            15,
        ),
        ("I am away.\n", "Out of office until 14 August", 15),
        ("I am away until 14 August.\n", "Automatic reply: Back on 5 August?", 15),
        (
            "I am away.\n\nOn 3 Aug, Ann <a@example.com> wrote:\n> Please answer until 14 August\n",
            "Re: hi",
            None,
        ),
    ],
)
def test_what_an_absent_author_quotes_is_not_what_they_say(text: str, subject: str, day: int | None) -> None:
    found = read(mail(text, Subject=subject, Auto_Submitted="auto-replied"), NOW)
    assert (found.back_at and found.back_at.day) == day


@pytest.mark.parametrize(
    "headers", [{"Auto_Submitted": "no"}, {"Subject": "Re: your out of office"}, {"Precedence": "bulk"}]
)
def test_what_a_person_answers_does_not(headers: dict[str, str]) -> None:
    found = read(mail("I am away until 14 August.\n", **headers), NOW)
    assert (found.kind, found.back_at) == (MailKind.ANSWER, None)


@pytest.mark.parametrize(
    "bounce", [dsn(), dsn(to="answers@example.com"), qmail_bounce(), exim_bounce(), dsn(original=False)]
)
def test_a_bounce_names_its_letter(bounce: bytes) -> None:
    """By the address it came to, or by the letter's headers somewhere inside."""
    found = read(bounce, NOW)
    assert (found.kind, found.addressed) == (MailKind.BOUNCE, (TOKEN,))
    assert "deliver" in found.text


GROUP = "Final-Recipient: rfc822; bob@example.com\r\nAction: {}\r\nStatus: {}\r\n"
STATUS = "Reporting-MTA: dns; mx\r\n\r\n" + GROUP
EXCHANGE = "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.com>"
ABROAD = (
    *("Mensaje no entregado", "Messaggio non recapitabile", "Mensagem não entregue", "Niet bezorgd bericht"),
    *("Niedostarczona wiadomość", "Недоставленное сообщение", "Kunde inte levereras", "系统退信"),
)


@pytest.mark.parametrize(
    ("bounce", "kind"),
    [
        (odd_dsn(STATUS.format("failed", "5.1.1"), "message/global-delivery-status"), MailKind.BOUNCE),
        (odd_dsn(STATUS.format("delayed", "4.4.1"), "message/global-delivery-status"), None),
        (
            odd_dsn(
                base64.b64encode(STATUS.format("failed", "5.1.1").encode()).decode(),
                headers="Content-Transfer-Encoding: base64\r\n",
            ),
            MailKind.BOUNCE,
        ),
        (odd_dsn(STATUS.format("expired", "4.4.7")), MailKind.BOUNCE),
        (odd_dsn("Reporting-MTA: dns; mx\r\n\r\nAction: failed\r\nStatus: 5.0.0\r\n"), MailKind.BOUNCE),
        (odd_dsn("Reporting-MTA: dns; mx\r\n\r\nStatus: 5.0.0\r\n"), MailKind.BOUNCE),
        (odd_dsn("Reporting-MTA: dns; mx\r\n\r\nStatus: 2.0.0\r\n"), None),
        (odd_dsn("nothing of use"), MailKind.BOUNCE),
        (
            odd_dsn(STATUS.format("delayed", "4.0.0") + "\r\n" + GROUP.format("failed", "5.1.1")),
            MailKind.BOUNCE,
        ),
        (mail("See below.", From="postmaster@mx.example", Subject="Undeliverable: A talk"), MailKind.BOUNCE),
        (mail("It waits.", From="MAILER-DAEMON <>", Subject="Delivery status"), MailKind.BOUNCE),
        (mail("Still trying.", From="MAILER-DAEMON <>", Subject="Delivery status"), None),
        (mail("It waits.", From="mailer-daemon@mx.example", Subject="Delayed 24 hours"), None),
        (
            mail("It came back.", From="x@mx.example", Return_Path="<>", Subject="Mail failure"),
            MailKind.BOUNCE,
        ),
        (
            mail("I am at sea.", From="bob@example.com", Return_Path="<>", Subject="Hello"),
            MailKind.OUT_OF_OFFICE,
        ),
        (mail("I failed to see it.", From="bob@example.com", Subject="Delivery failed"), MailKind.ANSWER),
        (mail("bob wasn't found.", From=EXCHANGE, Subject="Undeliverable: A talk"), MailKind.BOUNCE),
        (mail("Gone.", From="Mail Delivery Subsystem <x@mx.example>", Subject="A talk"), MailKind.BOUNCE),
        (mail("Gone.", From="bounces+7@mx.example", Subject="A talk"), MailKind.BOUNCE),
        *(
            (mail("Hm.", From="x@mx.example", Return_Path="<>", Subject=subject), MailKind.BOUNCE)
            for subject in ABROAD
        ),
    ],
    ids=[
        *("global", "global, late", "base64", "expired", "no address", "status alone", "delivered"),
        *("no status", "several", "Exchange", "name alone", "trying", "late", "no return path"),
        *("away without a return path", "a person", "Exchange without a part", "by name", "with a tag"),
        *ABROAD,
    ],
)
def test_no_failure_goes_unnoticed(bounce: bytes, kind: MailKind | None) -> None:
    """However a server words it; what is late or arrived is no failure, and a person's mail is none."""
    found = read(bounce, NOW)
    assert (found.kind, found.addressed) == (kind, (TOKEN,))


def test_what_a_person_forwards_of_a_bounce_is_an_answer() -> None:
    """Whole or in parts."""
    inner = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nSee?\r\n--x\r\n"
    whole = inner.encode() + b"Content-Type: message/rfc822\r\n\r\n" + dsn() + b"\r\n--x--\r\n"
    part = (
        inner
        + "Content-Type: message/delivery-status\r\n\r\n"
        + STATUS.format("failed", "5.1.1")
        + "--x--\r\n"
    )
    head = f"Delivered-To: {ADDRESS}\r\nFrom: bob@example.com\r\nTo: {ADDRESS}\r\nSubject: Fwd\r\n".encode()
    for body in (whole, part.encode()):
        assert read(head + body, NOW).kind is MailKind.ANSWER


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed"])
def test_a_report_that_decides_nothing_is_no_bounce(action: str) -> None:
    found = read(dsn(action), NOW)
    assert (found.kind, found.addressed) == (None, (TOKEN,))


def test_what_a_person_quotes_of_a_bounce_is_an_answer() -> None:
    text = qmail_bounce().decode().partition("\r\n\r\n")[2]
    found = read(mail(f"Did you see this?\n\n{text}"), NOW)
    assert found.kind is MailKind.ANSWER


@pytest.mark.parametrize("date", ["31.12.9999", "31 December 9999", "9999-12-31", "0001-01-01", "00.00.0000"])
def test_a_day_beyond_all_calendars_is_none(date: str) -> None:
    """The mail is read all the same."""
    found = read(mail(f"I am away until {date}.", Auto_Submitted="auto-replied"), NOW)
    assert (found.kind, found.back_at) == (MailKind.OUT_OF_OFFICE, None)


def test_attachments_are_named_and_their_number_is_bounded() -> None:
    """A name is one line, whatever it holds; a mail inside the mail is not read as the answer."""
    message = EmailMessage()
    message["From"], message["To"] = "bob@example.com", ADDRESS
    message.set_content("See attached.")
    message.add_attachment(b"x" * 1000, maintype="application", subtype="pdf", filename="CV \u202e Bob.pdf")
    message.add_attachment("I am away until 14 August.", filename="notes.txt")
    for number in range(40):
        message.add_attachment(b"x", maintype="image", subtype="png", filename=f"{number}.png")
    found = read(message.as_bytes(), NOW)
    assert found.text == "See attached."
    assert found.attachments[:2] == ("CV Bob.pdf (application/pdf)", "notes.txt (text/plain)")
    assert (len(found.attachments), found.attachments[-1]) == (21, "and 22 more")
    assert (
        found.message_id
        == read(message.as_bytes(), NOW).message_id
        != read(mail(Message_ID=""), NOW).message_id
    )


MALFORMED = [
    b"",
    b"\0\xff\xfe",
    b"Subject: no end",
    b"From: =?utf-8?b?!!!?= <bob@example.com>\r\nSubject: =?x-none?q?=FF?=\r\n\r\nhello",
    b"From: \xff\xfe <bob@example.com>\r\nSubject: \xc3\xa4\r\n\r\nhello",
    b"Content-Type: multipart/mixed\r\n\r\nno boundary",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
    b"Content-Type: text/plain; charset*=utf-8''%ff\r\n\r\nhello",
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!===",
    b"Content-Disposition: attachment; filename*0*=utf-8''%E4; filename*9=x\r\n\r\nhello",
    b"Date: Mon, 99 Foo 99999999999 99:99:99 +9999999\r\nAuto-Submitted: auto-replied\r\n\r\nuntil tomorrow",
    b"Message-ID: <\r\n <x>\r\nFrom: @,<>;:\r\n\r\nhello",
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\nFinal-Recipient: \xff\r\n\r\n--b--",
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_mail_is_read_as_far_as_it_goes(data: bytes) -> None:
    found = read(data, NOW)
    assert isinstance(found, ReadMail)
    assert ReadMail.model_validate_json(found.model_dump_json()) == found


HOSTILE = {
    "nested deeper than a parser goes": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number)
        for number in range(1000)
    ),
    "twenty thousand parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\n\r\nx\r\n" * 20_000,
    "made for the quote pattern": b"From: b@example.com\r\n\r\n" + b"On a b " * 8000 + b"\nwrote",
    "made for the header pattern": b"From: b@example.com\r\n\r\n" + b"\nFrom: a\n  \n  Sent:" * 2500,
    "one long line": b"From: b@example.com\r\n\r\n" + b"> " * 1_000_000,
    "twenty megabytes": b"From: b@example.com\r\nContent-Type: application/zip; name=a.zip\r\n\r\n"
    + b"x" * 20_000_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_mail_ends_within_its_limits(data: bytes) -> None:
    """Read, or refused with a reason; the process that reads it is another one."""
    try:
        found: object = await asyncio.to_thread(read_isolated, data, NOW)
    except UnreadableMailError as error:
        found = error
    assert str(found)
    assert len(getattr(found, "text", "")) <= 16_000


@pytest.mark.parametrize(
    "headers",
    [
        {"Return_Path": "<>"},
        {"X_Auto_Reply": "yes"},
        {"X_Mail_Autoreply": "1"},
        {"X_Autogenerated": "Reply"},
        {"X_POST_MessageClass": "9; Autoresponder"},
        {"Delivered_To": "Autoresponder"},
        {"Preference": "auto_reply"},
        {"Precedence": "junk"},
    ],
)
def test_an_automatic_reply_with_nothing_but_a_bare_header_is_one(headers: dict[str, str]) -> None:
    """Programs say it in their own ways; a comment on a no is still a no."""
    assert read(mail("I am away until 14 August.\n", **headers), NOW).kind is MailKind.OUT_OF_OFFICE
    assert read(mail("Yes\n", Auto_Submitted="no (human)"), NOW).kind is MailKind.ANSWER
    assert read(b"Auto-Submitted:\n" + mail("Yes\n"), NOW).kind is MailKind.OUT_OF_OFFICE


def test_a_footer_in_plain_text_does_not_take_the_place_of_what_was_written() -> None:
    """The plain text goes before HTML only where both say the same: among alternatives."""
    html, plain = "text/html\n\n<p>I am not interested.</p>", "text/plain\n\nList footer"
    body = f"--b\nContent-Type: {html}\n--b\nContent-Type: {plain}\n--b--\n"
    mixed = f"From: a@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{body}"
    found = read(mixed.encode(), NOW).text
    assert found.split() == ["I", "am", "not", "interested.", "List", "footer"]
    assert read(mixed.replace("/mixed", "/alternative").encode(), NOW).text == "List footer"
