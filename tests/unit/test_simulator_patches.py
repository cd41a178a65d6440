"""The simulator's rules for changing a segment: all at once, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.demo.simulator import Action, Refusal, Segment, json_patch, patches
from ldsync.demo.simulator.membership import Change


def a_segment(*included: str, excluded: tuple[str, ...] = (), unbounded: bool = False) -> Segment:
    """A segment with some targets of kind `user`."""
    segment = Segment("vip", "Vip", path="/vip", environment_id="e", now_ms=1)
    segment.unbounded = unbounded
    draft = segment.draft(
        [Change(Action.INCLUDE, "user", included), Change(Action.EXCLUDE, "user", excluded)]
    )
    draft.apply()
    return segment


def instruction(kind: str, *values: str, context_kind: str = "user") -> dict[str, object]:
    """A target instruction as JSON."""
    return {"kind": kind, "contextKind": context_kind, "values": list(values)}


def patch(segment: Segment, *instructions: object, now_ms: int = 2) -> None:
    """Parse and apply."""
    patches.apply(segment, patches.parse({"instructions": list(instructions)}, "e"), now_ms)


@pytest.mark.parametrize(
    ("kind", "values", "included", "excluded"),
    [
        pytest.param("addIncludedTargets", ["c"], {"a", "b", "c"}, {"x"}, id="include"),
        pytest.param("removeIncludedTargets", ["a"], {"b"}, {"x"}, id="remove"),
        pytest.param("addExcludedTargets", ["c"], {"a", "b"}, {"x", "c"}, id="exclude"),
        pytest.param("removeExcludedTargets", ["x"], {"a", "b"}, set(), id="unexclude"),
        pytest.param("addIncludedUsers", ["c"], {"a", "b", "c"}, {"x"}, id="legacy include"),
        pytest.param("removeIncludedUsers", ["a"], {"b"}, {"x"}, id="legacy remove"),
        pytest.param("addExcludedUsers", ["c"], {"a", "b"}, {"x", "c"}, id="legacy exclude"),
        pytest.param("removeExcludedUsers", ["x"], {"a", "b"}, set(), id="legacy unexclude"),
    ],
)
def test_an_instruction_changes_its_list(
    kind: str, values: list[str], included: set[str], excluded: set[str]
) -> None:
    """Each of the eight target instructions changes one list, and the version by one."""
    segment = a_segment("a", "b", excluded=("x",))
    patch(segment, {"kind": kind, "contextKind": "user", "values": values}, now_ms=77)
    assert (segment.included(), segment.excluded()) == (included, excluded)
    assert (segment.version, segment.modified_ms) == (2, 77)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"kind": "addIncludedTarget", "values": ["a"]}, id="unknown kind"),
        pytest.param({"values": ["a"]}, id="no kind"),
        pytest.param("addIncludedTargets", id="no object"),
        pytest.param({"kind": "addIncludedTargets", "values": ["a"]}, id="no context kind"),
        pytest.param(instruction("addIncludedTargets", "a", context_kind="a b"), id="bad kind"),
        pytest.param(instruction("addIncludedTargets", "a", context_kind="multi"), id="multi"),
        pytest.param(instruction("addIncludedTargets"), id="no values"),
        pytest.param(instruction("addIncludedTargets", ""), id="empty key"),
        pytest.param(
            {"kind": "addIncludedTargets", "contextKind": "user", "values": [1]}, id="number as key"
        ),
        pytest.param(instruction("addIncludedTargets", "x"), id="included and excluded"),
        pytest.param(instruction("addExcludedTargets", "a"), id="excluded and included"),
        pytest.param({"kind": "updateName", "value": ""}, id="empty name"),
        pytest.param({"kind": "addTags", "values": ["two words"]}, id="bad tag"),
        pytest.param(
            {"kind": "addBigSegmentIncludedTargets", "values": ["a"]}, id="for big segments"
        ),
    ],
)
def test_one_wrong_instruction_spoils_the_whole_patch(wrong: object) -> None:
    """Nothing of a patch with a wrong instruction is applied, whatever comes before and after."""
    segment = a_segment("a", excluded=("x",))
    before = segment.body()
    with pytest.raises(Refusal) as refused:
        patch(segment, instruction("addIncludedTargets", "n"), wrong)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    assert segment.body() == before


def test_a_key_can_be_moved_between_the_lists_in_one_patch() -> None:
    """Instructions are applied in order: a key taken out of one list may enter the other."""
    segment = a_segment(excluded=("x",))
    patch(
        segment, instruction("removeExcludedTargets", "x"), instruction("addIncludedTargets", "x")
    )
    assert (segment.included(), segment.excluded()) == ({"x"}, set())


def test_a_satisfied_patch_succeeds_without_a_new_version() -> None:
    """Adding who is in and removing who is out changes nothing."""
    segment = a_segment("a")
    before = segment.body()
    patch(
        segment, instruction("addIncludedTargets", "a"), instruction("removeIncludedTargets", "b")
    )
    assert segment.body() == before


@pytest.mark.parametrize(("count", "fits"), [(1500, True), (1501, False)])
def test_target_operations_are_counted_over_the_whole_request(*, count: int, fits: bool) -> None:
    """1,500 in two instructions pass, one more is refused."""
    keys = [str(number) for number in range(count)]
    halves = [
        instruction("addIncludedTargets", *keys[:700]),
        instruction("removeIncludedTargets", *keys[700:]),
    ]
    segment = a_segment()
    if fits:
        patch(segment, *halves)
        assert len(segment.included()) == 700
    else:
        with pytest.raises(Refusal, match="exceeds the batch limit"):
            patch(segment, *halves)
        assert segment.included() == set()


@pytest.mark.parametrize(
    ("instructions", "fits"),
    [
        pytest.param([instruction("addIncludedTargets", "new")], True, id="to the limit"),
        pytest.param([instruction("addIncludedTargets", "new", "newer")], False, id="over it"),
        pytest.param(
            [instruction("addIncludedTargets", "o", "p", context_kind="org")],
            False,
            id="over it with another kind",
        ),
        pytest.param([instruction("addExcludedTargets", "o", "p")], False, id="over it excluded"),
        pytest.param([instruction("addIncludedTargets", "new", "0", "1")], True, id="some known"),
        pytest.param(
            [
                instruction("removeIncludedTargets", "0"),
                instruction("addIncludedTargets", "new", "newer"),
            ],
            True,
            id="room made first",
        ),
    ],
)
def test_a_standard_segment_holds_15000_targets(
    *, instructions: list[dict[str, object]], fits: bool
) -> None:
    """The limit is on what the segment would hold afterwards, over both lists and all kinds."""
    segment = a_segment(*map(str, range(14_998)), excluded=("x",))
    if fits:
        patch(segment, *instructions)
        assert segment.version == 2
    else:
        with pytest.raises(Refusal, match="at most 15000"):
            patch(segment, *instructions)
        assert segment.version == 1


def test_a_big_segment_has_no_limit_of_targets_and_operations() -> None:
    """Neither 1,500 nor 15,000 apply to instructions for big segments."""
    segment = a_segment(unbounded=True)
    keys = list(map(str, range(15_001)))
    patch(segment, {"kind": "addBigSegmentIncludedTargets", "values": keys})
    assert len(segment.included()) == 15_001
    assert segment.document()["included"] == []


_KEYS = st.sampled_from("abc")
_STEPS = st.lists(st.tuples(st.sampled_from(Action), st.lists(_KEYS, min_size=1)), max_size=8)


@given(included=st.sets(_KEYS), steps=_STEPS)
def test_a_draft_does_what_sets_do_step_by_step(
    included: set[str], steps: list[tuple[Action, list[str]]]
) -> None:
    """Planning all and applying once is applying one by one; a conflict leaves all as it was."""
    segment = a_segment(*included)
    sides = {"included": set(included), "excluded": set[str]()}
    conflict = False
    for action, keys in steps:
        for key in keys:
            conflict = conflict or (action.adds and key in sides[action.side.other])
            (sides[action.side].add if action.adds else sides[action.side].discard)(key)
    changes = [Change(action, "user", keys) for action, keys in steps]
    if conflict:
        with pytest.raises(Refusal):
            segment.draft(changes)
        assert (segment.included(), segment.excluded()) == (included, set())
        return
    draft = segment.draft(changes)
    assert draft.changes_anything == (sides != {"included": included, "excluded": set()})
    assert draft.total() == len(sides["included"]) + len(sides["excluded"])
    draft.apply()
    assert (segment.included(), segment.excluded()) == (sides["included"], sides["excluded"])


def test_names_and_tags_change_by_semantic_patch() -> None:
    """`updateName`, `addTags` and `removeTags` work; a tag is there once."""
    segment = a_segment()
    patch(
        segment,
        {"kind": "updateName", "value": "Better"},
        {"kind": "addTags", "values": ["a", "b"]},
        {"kind": "addTags", "values": ["b"]},
        {"kind": "removeTags", "values": ["a"]},
    )
    assert (segment.name, segment.tags, segment.version) == ("Better", ["b"], 2)


def test_a_json_patch_changes_name_description_and_tags() -> None:
    """The fields that a worker has reason to change this way."""
    segment = a_segment()
    operations = [
        {"op": "replace", "path": "/name", "value": "n"},
        {"op": "add", "path": "/description", "value": "d"},
        {"op": "replace", "path": "/tags", "value": ["t"]},
    ]
    json_patch.apply(segment, {"patch": operations, "comment": "c"}, 9)
    assert (segment.name, segment.description, segment.tags) == ("n", "d", ["t"])
    assert (segment.version, segment.modified_ms) == (2, 9)
    json_patch.apply(segment, [{"op": "remove", "path": "/description"}], 10)
    assert "description" not in segment.document()


@pytest.mark.parametrize(
    ("operation", "refused"),
    [
        pytest.param({"op": "replace", "path": "/description", "value": "d"}, None, id="describe"),
        pytest.param({"op": "test", "path": "/version", "value": 1}, None, id="version holds"),
        pytest.param({"op": "test", "path": "/version", "value": 9}, 409, id="version differs"),
        pytest.param({"op": "add", "path": "/included/-", "value": "a"}, 400, id="not simulated"),
        pytest.param({"op": "add", "path": "/description", "value": 1}, 400, id="no text"),
        pytest.param("replace", 400, id="no object"),
    ],
)
def test_a_json_patch_is_applied_whole_or_not(operation: object, refused: int | None) -> None:
    """An operation that fails spoils those before it."""
    segment = a_segment()
    operations = [{"op": "add", "path": "/tags/-", "value": "t"}, operation]
    if refused is None:
        json_patch.apply(segment, operations, 2)
        assert (segment.tags, segment.version) == (["t"], 2)
    else:
        with pytest.raises(Refusal) as refusal:
            json_patch.apply(segment, operations, 2)
        assert refusal.value.status == refused
        assert (segment.tags, segment.version) == ([], 1)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([], id="array"),
        pytest.param({}, id="no instructions"),
        pytest.param({"instructions": []}, id="empty"),
        pytest.param({"instructions": {}}, id="no array"),
    ],
)
def test_a_patch_without_instructions_is_refused(document: object) -> None:
    """There must be at least one."""
    with pytest.raises(Refusal) as refused:
        patches.parse(document, "e")
    assert refused.value.status == 400
