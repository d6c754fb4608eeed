"""Which cards a worker takes, and that no run gets more or fewer than its config says."""

import pytest

from stages.errors import ConfigError
from worker.slots import Slots, _visible, choose


@pytest.mark.parametrize(
    ("wanted", "found"), [("none", []), ("all", ["A", "B", "C"]), ("0", ["A"]), ("2,0", ["C", "A"]), ("1,1", ["B"])]
)
def test_choose(wanted, found):
    assert choose(wanted, ["A", "B", "C"]) == found


@pytest.mark.parametrize("wanted", ["3", "-1", "0,5", "a", "", "0;1"])
def test_a_wrong_index_where_there_are_cards_is_an_error(wanted):
    with pytest.raises(ConfigError, match="--gpus"):
        choose(wanted, ["A", "B", "C"])


def test_without_any_card_indices_warn(capsys):
    assert choose("0,1", []) == []
    assert "no CUDA device" in capsys.readouterr().err


def test_slots_hand_out_exactly_what_is_asked_and_take_it_back():
    slots = Slots(["A", "B", "C"], cpus=1)
    assert slots.fitting() == [0, 1, 2, 3]
    two, none = slots.take(2), slots.take(0)
    assert (two.cards, none.cards) == (("A", "B"), ())
    assert two.environment == {"CUDA_VISIBLE_DEVICES": "A,B"}
    assert slots.fitting() == [1]
    assert slots.possible() == [0, 1, 2, 3]
    slots.give_back(two)
    slots.give_back(none)
    assert slots.fitting() == [0, 1, 2, 3]
    assert slots.take(3).cards == ("A", "B", "C")


@pytest.mark.parametrize(
    ("allowed", "found"), [(None, ["A", "B"]), ("", []), ("1", ["B"]), ("B,A", ["B", "A"]), ("7", []), ("-1", [])]
)
def test_what_a_scheduler_left_visible(allowed, found):
    assert _visible(["A", "B"], allowed) == found
