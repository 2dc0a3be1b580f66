"""What is taken out of a profile before anything ranks it: each phrasing that tells, and what must stay."""

from __future__ import annotations

import pytest

from activities.recruiting import protected
from activities.recruiting.protected import Protected, strip

NAME, EMAIL = "Anna-Lena Müller", "anna.mueller85@example.com"

# Each line holds a fact of the category; the words after the bar must not be left.
TOLD: list[tuple[Protected, str, str]] = [
    *((Protected.AGE, *each) for each in (
        ("I am 41.", "41"),
        ("Ich bin 41 und wohne in Ulm", "41"),
        ("Date of birth: 12.03.1985", "1985"),
        ("DOB 12/03/85", "85"),
        ("Born on 3 May 1990 in a small town", "1990"),
        ("born 1979", "1979"),
        ("Geburtsdatum: 01.02.1970", "1970"),
        ("Date de naissance : 1er mars 1982", "1982"),
        ("Age: 34", "34"),
        ("Age 34", "34"),
        ("I am 34 years old.", "34"),
        ("I am a 45-year-old engineer.", "45"),
        ("I am a 45-\nyear-old engineer.", "45"),
        ("thirty-four years old", "thirty"),
        ("aged 52", "52"),
        ("She turned 40 last year.", "40"),
        ("I am in my early fifties.", "fifties"),
        ("A digital native and proud millennial.", "millennial"),
        ("A retired teacher who went back to work.", "retired"),
        ("Class of 1998", "1998"),
        ("Graduated from the town school in 1989.", "1989"),
        ("Abitur 1996", "1996"),
        ("b. 1971", "1971"),
        ("Birthday: July 4th", "July"),
        ("born\u00a0in\u00a01985", "1985"),
        ("bo\u200brn in 1985", "1985"),
        ("*1985", "1985"),
        ("34 y/o", "34"),
        ("A youthful and energetic person.", "youthful and"),
    )),
    *((Protected.GENDER, *each) for each in (
        ("Gender: female", "female"),
        ("Sex: M", "M"),
        ("Pronouns: she/her", "she"),
        ("(she/her)", "her"),
        ("She built the tide clock.", "She"),
        ("The clock was built by him.", "him"),
        ("Mrs. Smith wrote this reference.", "Mrs"),
        ("Ms Smith wrote this reference.", "Ms"),
        ("Herr Schmidt", "Herr"),
        ("A woman in technology.", "woman"),
        ("Captain of the women's chess team", "women"),
        ("Member of a fraternity", "fraternity"),
        ("Chairwoman of the board", "Chairwoman"),
        ("Worked as a waitress", "waitress"),
        ("I am a transgender engineer.", "transgender"),
        ("I am non-binary.", "binary"),
        ("née Smith", "née"),
        ("Compulsory military service, 2004", "military"),
        ("Wehrdienst 1999-2000", "Wehrdienst"),
        ("Anrede: Frau", "Frau"),
    )),
    *((Protected.ETHNICITY, *each) for each in (
        ("Ethnicity: Asian", "Asian"),
        ("Race: white", "white"),
        ("As a Black engineer I know this.", "Black"),
        ("I am a person of colour.", "colour"),
        ("African American", "African"),
        ("A Latina in technology.", "Latina"),
        ("Proud of my Korean heritage.", "Korean"),
        ("My family is of Turkish descent.", "Turkish"),
        ("Mother tongue: Arabic", "Arabic"),
        ("Native speaker of Polish.", "Polish"),
        ("native French", "French"),
        ("I came as a refugee.", "refugee"),
        ("A first-generation immigrant.", "immigrant"),
        ("Member of the Roma community.", "Roma"),
        ("From a minority background.", "minority"),
    )),
    *((Protected.NATIONALITY, *each) for each in (
        ("Nationality: German", "German"),
        ("Staatsangehörigkeit: deutsch", "deutsch"),
        ("Citizenship: dual, US and Irish", "Irish"),
        ("A Brazilian engineer with ideas.", "Brazilian"),
        ("I hold a Canadian passport.", "Canadian"),
        ("EU citizen", "citizen"),
        ("Needs an H-1B visa.", "visa"),
        ("Green card holder", "Green card"),
        ("Raised in Ghana.", "Ghana"),
        ("I am from Nigeria.", "Nigeria"),
        ("Originally from Peru, now here.", "Peru"),
        ("Work permit until 2027", "permit"),
    )),
    *((Protected.RELIGION, *each) for each in (
        ("Religion: Roman Catholic", "Catholic"),
        ("Konfession: ev.", "ev."),
        ("A practising Muslim.", "Muslim"),
        ("Volunteer at the local church.", "church"),
        ("Treasurer of the synagogue.", "synagogue"),
        ("I observe Ramadan.", "Ramadan"),
        ("I wear a hijab.", "hijab"),
        ("Sunday school teacher", "Sunday"),
        ("A Hindu, a Sikh and a Buddhist walked in.", "Sikh"),
        ("Mission trip to the coast", "Mission"),
        ("I am an atheist.", "atheist"),
        ("Studied theology.", "theology"),
        ("Religion\nLutheran", "Lutheran"),
    )),
    *((Protected.FAMILY, *each) for each in (
        ("Marital status: single", "single"),
        ("Familienstand: verheiratet, 2 Kinder", "verheiratet"),
        ("Married, two children", "two"),
        ("Divorced", "Divorced"),
        ("Father of three.", "three"),
        ("A mother of two who codes.", "mother"),
        ("My husband and I moved here.", "husband"),
        ("I have two kids.", "kids"),
        ("Single mum", "mum"),
        ("Engaged to be married.", "Engaged"),
        ("A widower.", "widower"),
        ("No children", "children"),
        ("Career break to raise a family.", "family"),
        ("I care for my elderly mother.", "mother"),
        ("Family: wife, son", "wife"),
        ("stay-at-home dad", "dad"),
        ("My partner and I like to sail.", "partner"),
    )),
    *((Protected.PREGNANCY, *each) for each in (
        ("I am pregnant.", "pregnant"),
        ("Currently on maternity leave.", "maternity"),
        ("Parental leave 2019-2020", "2019"),
        ("We are expecting our first child.", "expecting"),
        ("Back from paternity leave.", "paternity"),
        ("Elternzeit 2018", "2018"),
        ("IVF treatment in spring.", "IVF"),
        ("I gave birth in May.", "birth"),
    )),
    *((Protected.HEALTH, *each) for each in (
        ("Disability: none", "none"),
        ("I use a wheelchair.", "wheelchair"),
        ("I am deaf in one ear.", "deaf"),
        ("I have ADHD.", "ADHD"),
        ("On the autism spectrum.", "autism"),
        ("Recovering from burnout.", "burnout"),
        ("A cancer survivor.", "cancer"),
        ("I have been HIV positive since then.", "HIV"),
        ("Diagnosed with multiple sclerosis.", "sclerosis"),
        ("GdB 50", "50"),
        ("Schwerbehinderung", "Schwerbehinderung"),
        ("Non-smoker, healthy", "smoker"),
        ("Height: 180 cm", "180"),
        ("Blood type: 0", "0"),
        ("I took sick leave in June.", "sick"),
        ("dyslexic", "dyslexic"),
        ("depression", "depression"),
    )),
    *((Protected.PHOTO, *each) for each in (
        ("Photo: see attachment", "attachment"),
        ("![me](anna.png)", "png"),
        ("<img src='me.jpg'>", "jpg"),
        ("Photo attached", "Photo"),
        ("Bewerbungsfoto", "foto"),
        ("[Photo]", "Photo"),
        ("headshot enclosed", "headshot"),
    )),
    *((Protected.ORIENTATION, *each) for each in (
        ("Sexual orientation: gay", "gay"),
        ("I am a lesbian.", "lesbian"),
        ("Openly bisexual.", "bisexual"),
        ("Chair of the LGBTQ+ network", "LGBT"),
        ("Organised the Pride parade.", "Pride"),
        ("In a same-sex marriage.", "same"),
        ("I am queer.", "queer"),
    )),
    *((Protected.MEMBERSHIP, *each) for each in (
        ("Union: IG Metall", "Metall"),
        ("Member of a trade union.", "union"),
        ("Union representative for five years.", "Union"),
        ("Shop steward", "steward"),
        ("Betriebsrat", "Betriebsrat"),
        ("Member of the Green Party.", "Green"),
        ("I vote conservative.", "conservative"),
        ("Political affiliation: none", "none"),
        ("Campaigned for Labour in the last election campaign.", "Labour"),
        ("An activist against the dam.", "activist"),
        ("Ran for city council.", "council"),
        ("Lifelong Democrat", "Democrat"),
        ("SPD-Mitglied", "SPD"),
    )),
    *((Protected.NAME, *each) for each in (
        ("Anna-Lena Müller", "Anna"),
        ("ANNA-LENA MÜLLER", "ANNA"),
        ("Anna Mueller", "Mueller"),
        ("Anna Muller's work", "Muller"),
        ("annamueller.example.com", "anna"),
        ("github.com/annamueller", "anna"),
        ("Write to anna.mueller85@example.com.", "anna"),
        ("@annamueller", "anna"),
        ("Name: A. M.", "A."),
        ("Phone: +49 170 1234567", "170"),
        ("+49 170 1234567", "170"),
        ("https://www.example.com/cv", "example"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("category", "text", "gone"), TOLD, ids=[f"{c.name}-{t[:40]}" for c, t, _ in TOLD])
def test_what_tells_is_taken_out_and_counted(category: Protected, text: str, gone: str) -> None:
    """Alone, and amidst what stays; the count says which category it was, and never what."""
    for profile in (text, f"I keep tide tables.\n{text}\nI write Python.", f"Python | {text} | Rust"):
        stripped = strip(profile, NAME, EMAIL)
        assert gone not in stripped.text, stripped.text
        assert stripped.removed.get(category, 0) >= 1, stripped.removed
        assert gone not in str(stripped.removed.values())


STAYS = (
    "Ten years of Python, Go and Kubernetes.",
    "Led a team of six engineers from 03/2015 to 04/2018.",
    "Refactored parent classes and child processes, and wrote child components.",
    "Black-box testing, white-box testing and a white paper.",
    "A UNION of two queries, and union types in TypeScript.",
    "Fluent in German and Spanish (C1).",
    "Single sign-on and single page applications.",
    "Managed partners and engaged with customers.",
    "MSc Computer Science, University of Technology",
    "2012-2018 Senior developer, tide tables",
    "Human resources software and talent management",
    "Mentored juniors; gave talks on race conditions and blind spots.",
    "Image processing and computer vision",
    "I am interested in harbours.",
)


@pytest.mark.parametrize("text", STAYS)
def test_what_a_job_is_about_stays(text: str) -> None:
    """Over-removal is better than a leak, and yet skills are what a ranking stands on."""
    assert strip(text, NAME, EMAIL).text == text


def test_a_short_name_is_taken_out_as_it_is_written_and_words_like_it_stay() -> None:
    """A candidate called May An does not lose every month of May, or every article."""
    stripped = strip("May An wrote an index in may.", "May An")
    assert stripped.text == "[removed] wrote an index in may."


def test_nothing_of_nothing() -> None:
    """An empty profile stays empty, and hostile ones end."""
    assert strip("", "x y").text == ""
    assert strip("\n" * 1000 + "|" * 1000 + "(" * 1000, "x y").removed == {}
    assert len(strip("a b c " * 15_000, "x y").text) > 1000


@pytest.mark.parametrize(
    ("profile", "left"),
    [
        ("Age\t41\nGender\tfemale\nNationality\tKlingon\nSkills\tPython\tGo", "Skills\tPython\tGo"),
        ("Gender\x1fmale\x1fPython", "Python"),
        ("Nationality\u2028Klingon\u2028Python", "Python"),
        ("Nationality\x0bKlingon\x0bPython", "Python"),
        ("Nationality\nklingon\nPython", "Python"),
        ("Python\x0cAge\t41", "Python"),
        ("Gender  Klingon", ""),
        ("Skill\tAge\tTown\nPython\t41\tUlm\nGo\t\tBonn", "Skill Python Ulm Go Bonn"),
        ("| Religion | Jedi |\n| Python | 5 years |", "| Python | 5 years |"),
        ("name\tage\tskill\nrobin\t41\tpython", "skill python"),
        ("Skills\tYears\nPython\t5\nGo\t3", "Skills\tYears Python\t5 Go\t3"),
    ],
)
def test_fields_end_where_something_separates_them(profile: str, left: str) -> None:
    """Tabs, unit separators, line and page breaks, two blanks; pairs, and columns below a header row."""
    text = strip(profile, "Robin Kowalski").text.replace("[removed]", " ")
    assert " ".join(word for word in text.split() if word != "|") == " ".join(
        word for word in left.split() if word != "|"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Né le 3 mai 1985 à Lyon.",
        "Née en 1985.",
        "1er mars 1982",
        "Nacida el 2 de junio de 1980.",
        "3. März 1990",
        "Nato a Roma nel 1985.",
        "urodzona w 1985",
        "Родился 5 мая 1980 года.",
        "Дата рождения: 05.05.1980",
        "1985年3月2日",
        "1985年出生",
        "出生日期：1985-03-02",
        "나이: 41",
        "Пол: мужской",
        "性别：男",
        "Płeć: kobieta",
        "Гражданство: Украина",
        "国籍：日本",
        "婚姻状况：已婚",
        "Семейное положение: женат",
        "Имя: Роман",
        "الجنسية: مصري",
    ],
)
def test_other_languages_and_scripts_tell_as_well(text: str) -> None:
    """What a form asks for in many countries, and dates of birth as they are written there."""
    stripped = strip(f"{text}\nPython", "x y")
    assert stripped.text.replace("[removed]", "").split() == ["Python"]
    assert sum(stripped.removed.values()) >= 1


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Robin Kowalski", "R. Kowalski wrote it, R. K. tested it.", "wrote it, tested it."),
        ("Robin Kowalski", "Kowalski, R. wrote Rust", "wrote Rust"),
        ("Anna-Lena Müller", "A.-L. M. wrote Rust", "wrote Rust"),
        ("李 明", "我叫李明。李明会Python。", "我叫 。 会Python。"),
        ("山田 太郎", "山田太郎はRustを書く", "はRustを書く"),
        ("Irina Petrova", "Ирина Петрова знает Python", "знает Python"),
        ("Ирина Петрова", "Irina Petrova knows Python", "knows Python"),
        ("Robin Kowalski", "U.S. law, K. means kilo, R and C", "U.S. law, K. means kilo, R and C"),
    ],
)
def test_names_in_initials_and_other_scripts(name: str, text: str, left: str) -> None:
    """Skills beside them stay."""
    assert " ".join(strip(text, name).text.replace("[removed]", " ").split()) == left


def test_a_line_without_end_is_looked_at_in_parts() -> None:
    """What is looked for takes time with the square of a line's length, so a hostile profile has none."""
    long = "a.b " * 5000 + "\n" + "born: 1990-02-03\n" + "x" * 5000 + "\n" + "wrapped\n" * 2000
    assert max(map(len, protected._lines(long))) <= protected.MAX_LINE + len(" wrapped")
    assert "".join(protected._lines("word " * 900)) == "word " * 900
    assert "1990" not in strip(long, "Ann").text
