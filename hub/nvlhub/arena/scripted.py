"""An arena that follows a script, for tests and demos."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nvlhub.arena.base import Arena, Judgement, Mark, Payer, Ran
from nvlhub.flow.rubric import Rubric

Play = Callable[[Mapping[str, bytes], Rubric], Judgement]


def all_good(files: Mapping[str, bytes], rubric: Rubric) -> Judgement:
    """Find everything right."""
    return Judgement(Ran("done", 0, 1.0, ""), tuple(Mark(1000, "mark-match") for _ in rubric.items))


class ScriptedArena(Arena):
    """Judges as it is told; runs nothing."""

    def __init__(self, play: Play = all_good, lacks: str = "") -> None:
        self._play = play
        self._lacks = lacks

    def lacks(self) -> str:
        """Return what the script says."""
        return self._lacks

    def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
        """Return what the script says."""
        return self._play(files, rubric)
