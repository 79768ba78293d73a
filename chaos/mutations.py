"""`python -m chaos mutations`: break sound histories on purpose, and see each caught by the checker it belongs to.

A checker that never went red proves nothing.  Each mutation takes a history in which every promise was kept and breaks
one of them; exactly one checker must notice.  Written as a table in Markdown, with the programs that are broken on
purpose behind it, which a campaign must find (`python -m chaos campaign --replace WORKER=COMMAND`).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chaos import harm
from chaos.checkers import CHECKERS, judge
from chaos.history import History
from chaos.sound import CALM, CAMPAIGN, DELETED, PUBLIC, RESTRICTED, sound

SOAK_SECONDS = 1300.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break a history.  ``of``: a campaign's, a soak's, or a ``quiet`` one: a campaign's without faults."""

    checker: str
    name: str
    spoil: Callable[[History], object]
    of: str = "campaign"

    def caught_by(self, seed: int = 1) -> list[str]:
        """The checkers that notice it, in a history from this seed."""
        history = base(self.of, seed)
        self.spoil(history)
        return [name for name, found in judge(history, CALM if self.of == "soak" else CAMPAIGN).items() if found]


def base(of: str, seed: int) -> History:
    """A history that is sound."""
    if of == "soak":
        return sound(seed, SOAK_SECONDS, faults=0)
    return sound(seed, faults=0 if of == "quiet" else 3)


MUTATIONS = (
    Mutation("lost", "an acknowledged change comes to no outcome", harm.lose_outcome),
    Mutation("lost", "a document is shown to nobody", lambda h: harm.at_the_end(h, PUBLIC, None)),
    Mutation("resurrected", "a deleted document is shown", harm.show(DELETED, 1)),
    Mutation("resurrected", "a deleted document is shown by a cache", harm.show(DELETED, 1, cached=True)),
    Mutation("mixed", "a passage of another version among those of one", harm.swap_passage),
    Mutation("mixed", "a statement of no version under the title of one", harm.swap_text),
    Mutation("mixed", "a passage is missing", harm.forget_passage),
    Mutation("mixed", "a version that nobody published", harm.invent),
    Mutation("revoked", "shown to who may not see it", harm.show(RESTRICTED, 0, "bob")),
    Mutation("revoked", "the version of before access was revoked", harm.show(RESTRICTED, 1, "bob")),
    Mutation("revoked", "the same by a cache", harm.show(RESTRICTED, 1, "bob", cached=True)),
    Mutation("stale", "an older version, though the newer was visible", harm.show(PUBLIC, 1)),
    Mutation("stale", "less than a token asked for", harm.fall_behind),
    Mutation("stale", "a change is answerable 25 s later, and no fault is felt", harm.last_probe(fresh=25.0)),
    Mutation("stale", "a change is never answerable, and no fault is felt", harm.last_probe(fresh=None)),
    Mutation("cached", "a cache answers with an older version", harm.show(PUBLIC, 1, cached=True)),
    Mutation("cached", "a copy at an edge outlives its time", harm.show(PUBLIC, 1, edge="hit")),
    Mutation("questions", "one fails, and no fault is felt", harm.last_probe(took=None, error="503")),
    Mutation("questions", "one takes 9 s, and no fault is felt", harm.last_probe(took=9.0)),
    Mutation("questions", "one is degraded, and no fault is felt", harm.last_probe(degraded=["vectors-unavailable"])),
    Mutation("questions", "one about a document fails, and no fault is felt", harm.fail_read),
    Mutation("jobs", "a job has no end", lambda h: harm.quiet_job(h).events.pop()),
    Mutation("jobs", "a job is answered twice", harm.answer_twice),
    Mutation("jobs", "two attempts are interleaved", harm.interleave),
    Mutation("jobs", "a token is missing", lambda h: harm.quiet_job(h).events.pop(harm.token_places(h)[-2])),
    Mutation("jobs", "a token comes twice", harm.repeat_token),
    Mutation("jobs", "events come out of order", harm.swap_ids),
    Mutation("jobs", "an answer comes 10 s after its deadline, and no fault is felt", harm.late),
    Mutation("jobs", "a job fails, and no fault is felt", harm.fail_job),
    Mutation("jobs", "a question is refused with 500, and no fault is felt", harm.refuse_job),
    Mutation("jobs", "a lower rung answers, and no fault is felt",
             partial(harm.step_down, rung=1, degraded=["model-0:overloaded"])),
    Mutation("jobs", "a lower rung answers and does not say so", partial(harm.step_down, rung=1, degraded=[])),
    Mutation("jobs", "one idempotency key, two jobs", lambda h: harm.quiet_job(h).ids.append("another")),
    Mutation("jobs", "two questions are told of one job", harm.share),
    Mutation("webhooks", "nobody is told of a job", harm.untold),
    Mutation("webhooks", "a message is given up after its endpoint failed", harm.never_taken),
    Mutation("webhooks", "a repeat has another id", harm.deliver(webhook_id="msg_new")),
    Mutation("webhooks", "a repeat has another body", harm.deliver(body="changed")),
    Mutation("webhooks", "a message has no signature that verifies", harm.deliver(verified=False)),
    Mutation("webhooks", "a message is about no job", harm.stranger),
    Mutation("webhooks", "two jobs share an id", harm.one_id),
    Mutation("letters", "a letter that nothing explains", harm.unexplained_letter),
    Mutation("letters", "a poison's letter has another reason", lambda h: setattr(h.letters[0], "reason", "timeout")),
    Mutation("letters", "a poison gets no letter", lambda h: h.letters.pop()),
    Mutation("lag", "a lane stands still", harm.freeze_lag),
    Mutation("lag", "a lane drains in 40 s", harm.drain_slowly),
    Mutation("lag", "nobody knows a lane's lag at the end", harm.lose_lane),
    Mutation("recovery", "a fault is never healed", harm.never_heal),
    Mutation("recovery", "it is never normal again", harm.stay_unwell),
    Mutation("recovery", "it is normal again after 33 s", partial(harm.stay_unwell, seconds=33.0)),
    Mutation("memory", "a process trebles", partial(harm.grow, to=3.0)),
    Mutation("memory", "a process that was started anew trebles", partial(harm.grow, to=3.0, program="gateway")),
    Mutation("memory", "a process grows by 150 MiB an hour in a soak",
             partial(harm.grow, to=1.27, program="index"), "soak"),
    Mutation("drift", "questions take twice as long at the end of a soak",
             partial(harm.slow_down, name="took"), "soak"),
    Mutation("drift", "changes take twice as long at the end of a soak", partial(harm.slow_down, name="fresh"), "soak"),
    Mutation("vacuity", "nothing was published or asked for", harm.without("writes", "reads")),
    Mutation("vacuity", "nobody asked for a document", harm.without("reads")),
    Mutation("vacuity", "nobody asked for what was deleted",
             partial(harm.never_ask_after, change=lambda revision: revision.deletes)),
    Mutation("vacuity", "nobody asked for what not all may see",
             partial(harm.never_ask_after, change=lambda revision: revision.access)),
    Mutation("vacuity", "no answer showed two passages", harm.one_passage),
    Mutation("vacuity", "no cache ever answered", harm.uncached),
    Mutation("vacuity", "no copy at an edge ever answered", harm.uncopied),
    Mutation("vacuity", "no probe", harm.without("probes"), "quiet"),
    Mutation("vacuity", "no job", harm.without("jobs", "deliveries")),
    Mutation("vacuity", "no poison", harm.without("poisons", "letters")),
    Mutation("vacuity", "no sample", harm.without("samples")),
    Mutation("vacuity", "no fault", lambda _: None, "quiet"),
    Mutation("vacuity", "a fault that could not be injected", harm.never_inject),
    Mutation("vacuity", "a soak without samples and probes", harm.without("samples", "probes"), "soak"),
)  # fmt: skip


# What is broken on purpose in the product: (where, what it does, who must notice).
PRODUCTS = (
    ("tests/chaos/unchecked_retriever.py", "retrieve shows every hit, whatever the manifests say",
     "mixed, resurrected, revoked, stale"),
    ("tests/chaos/trusting_retriever.py", "retrieve trusts its cache, whatever has changed",
     "cached, resurrected, revoked"),
    ("tests/chaos/silent_purger.py", "purge tells no edge anything", "cached (`python -m chaos cache --edge`)"),
    ("tests/consistency/mutations.py", "14 stages of index, each without one thing that the protocol stands on",
     "the machine of tests/consistency"),
    ("tests/chaos/mutants/hasty_index.py", "index acknowledges every tenth batch without making it visible",
     "lost, stale"),
    ("tests/chaos/mutants/skipping_chunk.py", "chunk passes over every 50th document", "lost, stale"),
    ("tests/chaos/mutants/forgetful_deliver.py", "deliver tells nobody of one job in ten", "webhooks"),
    ("tests/chaos/mutants/stuttering_generate.py", "generate writes its first words twice", "jobs"),
)  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when each is caught by its own checker and by no other, 1 when not."""
    del arguments
    write, missed = sys.stdout.write, 0
    write("| Checker | What is broken | Caught by |\n|---|---|---|\n")
    for mutation in MUTATIONS:
        caught = mutation.caught_by()
        missed += caught != [mutation.checker]
        write(f"| {mutation.checker} | {mutation.name} | {', '.join(caught) or '**nobody**'} |\n")
    write(f"\n{len(MUTATIONS)} mutations, {len(CHECKERS)} checkers, {missed} not caught as they should be.\n\n")
    write("| Broken program | What it does | Who must notice |\n|---|---|---|\n")
    for where, what, who in PRODUCTS:
        write(f"| `{where}` | {what} | {who} |\n")
    return 1 if missed else 0
