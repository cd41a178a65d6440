"""What is no trigger, and where; and why an event does not match one."""

import pytest

from ldsync.engage.trigger import TriggerError, parse


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "expected a condition but found the end"),
        ("   ", 3, "expected a condition but found the end"),
        (
            "type",
            4,
            'operator (= != < <= > >= or a word such as exists) after "type" but found the end',
        ),
        ("type =", 6, 'expected a text in quotes or a number after "=" but found the end'),
        ("type = track", 7, 'after "=" but found "track"'),
        ('type == "track"', 6, 'a number after "=" but found "="'),
        ('type is "track"', 5, 'exists) after "type" but found "is"'),
        ('"track" = type', 0, 'expected a condition but found "track"'),
        ("5 < properties.a", 0, 'expected a condition but found "5"'),
        ('type = "track" AND type = "a"', 15, 'expected "and", "or" or the end after "track"'),
        ('type = "track" type = "a"', 15, 'but found "type"'),
        ('type = "track" and', 18, 'expected a condition after "and" but found the end'),
        (
            'or type = "track"',
            0,
            '"or" is neither a field (type, event, name, userId, properties.…',
        ),
        ('type = "track")', 14, 'or the end after "track" but found ")"'),
        ('(type = "track"', 15, 'expected "and", "or" or ")" after "track" but found the end'),
        ("()", 1, 'expected a condition after "(" but found ")"'),
        ('typo = "track"', 0, '"typo" is neither a field'),
        ('messageId = "a"', 0, "context.…) nor a function (contains, match)"),
        ('not contains(event, "a")', 0, 'match); to negate, write "!" before a function'),
        ('!type = "a"', 1, "expected contains(…) or match(…), which is all that can be negated,"),
        ('!(type = "a")', 1, 'can be negated, after "!" but found "("'),
        ("properties = 1", 0, "properties needs a path, such as properties.plan"),
        ("event.a = 1", 0, "event has no parts"),
        ("properties. = 1", 11, 'expected a name after "."'),
        ("properties..a = 1", 11, 'expected a name after "."'),
        ("properties.", 11, 'expected a name after "."'),
        ("properties.a\\", 12, "a backslash needs a character after it"),
        ("properties.\\", 11, "a backslash needs a character after it"),
        (
            "properties.a[b] = 1",
            12,
            "expected an index, such as [0]; a key cannot contain brackets",
        ),
        ("properties.a\\[b\\] = 1", 12, "expected an index"),
        ("properties.[0] = 1", 11, "expected an index"),
        ("properties.a[0]b = 1", 15, 'after "properties.a[0]" but found "b"'),
        ("properties.é = 1", 11, 'expected a name after "."'),
        ("é = 1", 0, "a trigger has no place for 'é'"),
        ("type = “track”", 7, "a trigger has no place for '“'"),
        ('type = "a" && type = "b"', 11, "a trigger has no place for '&'"),
        ("type = [1]", 7, "a trigger has no place for '['"),
        ('type = "track', 7, 'the text that begins here has no " at its end'),
        ("type = 'track\"", 7, "the text that begins here has no ' at its end"),
        ('type = "track\\"', 7, 'has no " at its end'),
        (r'event = "C:\dir"', 11, r"a backslash in a text is written twice: \\"),
        ("properties.a = 1e5", 15, '"1e5" is no number: digits, and a point between them if any'),
        ("properties.a = 5.", 15, '"5." is no number'),
        ("properties.a = -", 15, '"-" is no number'),
        ("properties.a = 1.2.3", 15, '"1.2.3" is no number'),
        ("properties.a = 0x10", 15, '"0x10" is no number'),
        (f"properties.a = {'9' * 400}", 15, f'"{"9" * 40}…" is no number'),
        ("properties.a = .5", 15, "a trigger has no place for '.'"),
        ("properties.a < null", 15, 'expected a number after "<" but found "null"'),
        ('properties.a < "many"', 15, 'expected a number after "<" but found "many"'),
        ("properties.a >= true", 16, 'expected a number after ">=" but found "true"'),
        ("properties.a != true", 16, '"!=" would compare with the text "true"'),
        ("userId != false", 10, "write = with the other one, or quotes if the text is meant"),
        ("contains = 1", 9, 'expected "(" after "contains" but found "="'),
        ("contains(5, 5)", 9, 'expected a condition after "(" but found "5"'),
        ("contains(event)", 14, 'expected "," after "event" but found ")"'),
        ("contains(event, )", 16, 'expected a text in quotes or a number after ","'),
        ("contains(event, null)", 16, 'but found "null"'),
        ('contains(event, "a"', 19, 'expected ")" after "a" but found the end'),
        ('match(event, "a*", "b")', 17, 'expected ")" after "a*" but found ","'),
        ("match(event, 5)", 13, 'expected a pattern in quotes, such as "Order*", after ","'),
        ('match(event, "")', 13, "a pattern has one * at its start or at its end"),
        ('match(event, "abc")', 13, "contains, starts_with and ends_with"),
        ('match(event, "a*b")', 13, "a pattern has one *"),
        ('match(event, "*a*")', 13, "a pattern has one *"),
        ('match(event, "**")', 13, "a pattern has one *"),
        ('length(event) = "a"', 0, '"length" is neither a field'),
        ("properties.a = properties.b", 15, 'but found "properties.b"'),
        ("contains(event, 'a\nb' 5", 22, 'expected ")" after \'a b\' but found "5"'),
        (f"event = {'a' * 41}", 8, f'but found "{"a" * 40}…"'),
        (f"event = {'a' * 40}", 8, f'but found "{"a" * 40}"'),
    ],
)
def test_what_is_no_trigger_is_refused_at_its_place(text: str, position: int, message: str) -> None:
    """Never read past in silence, as Segment's parser does with most of these."""
    with pytest.raises(TriggerError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(
            "type = track",
            """\
            trigger, column 8: expected a text in quotes or a number after "=" but found "track"
                type = track
                       ^""",
            id="one line",
        ),
        pytest.param(
            'type = "a" and\n\tevent == 5\nor name = 5',
            """\
            trigger, line 2, column 9: expected a text in quotes or a number after "=" but found "="
                 event == 5
                        ^""",
            id="several lines",
        ),
        pytest.param(
            "type =\n",
            """\
            trigger, line 2, column 1: expected a text in quotes or a number after "=" but found \
the end

                ^""",
            id="after the last line",
        ),
        pytest.param(
            f"type = '{'a' * 40}' & '{'b' * 40}'",
            f"""\
            trigger, column 51: a trigger has no place for '&'
                … {"a" * 38}' & '{"b" * 37} …
                {" " * 42}^""",
            id="long line",
        ),
        pytest.param(
            f"type = '{'a' * 31}' & '{'b' * 36}'",
            f"""\
            trigger, column 42: a trigger has no place for '&'
                … ype = '{"a" * 31}' & '{"b" * 36}'
                {" " * 42}^""",
            id="just too long at its beginning",
        ),
    ],
)
def test_an_error_points_at_its_place(text: str, shown: str) -> None:
    """With a caret below the part of the line where understanding ended."""
    with pytest.raises(TriggerError) as caught:
        parse(text)
    lines = [line.removeprefix(" " * 12) for line in shown.split("\n")]
    assert [line.rstrip() for line in str(caught.value).split("\n")] == lines


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        pytest.param('type = "page"', [], id="it does match"),
        pytest.param(
            'type = "track"', ['type = "track" is false: type is "page"'], id="another text"
        ),
        pytest.param(
            'type = "identify" or type = "track"',
            [
                'type = "identify" is false: type is "page"',
                'type = "track" is false: type is "page"',
            ],
            id="neither",
        ),
        pytest.param(
            'type = "page" and event exists and type = "x"',
            ["event != null is false: event is missing or null"],
            id="the first that failed",
        ),
        pytest.param(
            'type = "page" and (userId = "a" or type = "b")',
            [
                'userId = "a" is false: userId is 7, which is not text',
                'type = "b" is false: type is "page"',
            ],
            id="alternatives within",
        ),
        pytest.param(
            "properties.digits = 5",
            ['properties.digits = 5 is false: properties.digits is "5", which is not a number'],
            id="text for number",
        ),
        pytest.param(
            "properties.number > 7.5",
            ["properties.number > 7.5 is false: properties.number is 7"],
            id="number",
        ),
        pytest.param(
            "properties.fraction = true",
            [
                (
                    "properties.fraction = true is false: "
                    "properties.fraction is 0.5, which is not a boolean"
                )
            ],
            id="number for boolean",
        ),
        pytest.param(
            "properties.object > 1",
            [
                (
                    "properties.object > 1 is false: "
                    "properties.object is an object, which is not a number"
                )
            ],
            id="object for number",
        ),
        pytest.param(
            "properties.yes is_false",
            ["properties.yes = false is false: properties.yes is true"],
            id="the other truth",
        ),
        pytest.param(
            "properties.yes = 1",
            ["properties.yes = 1 is false: properties.yes is true, which is not a number"],
            id="boolean for number",
        ),
        pytest.param(
            'properties.list contains "a"',
            [
                (
                    'contains(properties.list, "a") is false: '
                    "properties.list is a list, which is not text"
                )
            ],
            id="list for text",
        ),
        pytest.param(
            "properties.object = null",
            ["properties.object = null is false: properties.object is an object"],
            id="object",
        ),
        pytest.param(
            'type != "page"', ['type != "page" is false: type is "page"'], id="the same text"
        ),
        pytest.param(
            'userId != "7" and match(properties.long, "b*")',
            [f'match(properties.long, "b*") is false: properties.long is "{"é" * 59}…'],
            id="long text",
        ),
        pytest.param(
            'properties.sixty = ""',
            [f'properties.sixty = "" is false: properties.sixty is "{"a" * 58}"'],
            id="not so long text",
        ),
        pytest.param(
            'properties.half = "a"',
            ['properties.half = "a" is false: properties.half is "\\ud83d"'],
            id="half an emoji",
        ),
    ],
)
def test_why_an_event_does_not_match_is_said_in_words(text: str, reasons: list[str]) -> None:
    """Of `and` the first condition that failed, of `or` all, each with what was found."""
    event = {
        "type": "page",
        "userId": 7,
        "properties": {
            "digits": "5",
            "number": 7,
            "fraction": 0.5,
            "yes": True,
            "list": [],
            "object": {},
            "long": "é" * 100,
            "sixty": "a" * 58,
            "half": "\ud83d",
        },
    }
    assert parse(text).why_not(event) == tuple(reasons)
