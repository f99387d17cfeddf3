"""Where what learners hand in is run and judged."""

from nvlhub.arena.base import Arena, ArenaError, Judgement, Mark, NotHeldError, Payer, Ran
from nvlhub.arena.local import LocalArena
from nvlhub.arena.scripted import ScriptedArena

__all__ = ["Arena", "ArenaError", "Judgement", "LocalArena", "Mark", "NotHeldError", "Payer", "Ran", "ScriptedArena"]
