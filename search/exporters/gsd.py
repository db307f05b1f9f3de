"""GSD's release: the constants of its script and of its scheduler, to be edited by hand.

It has no arguments, and its groups are numbers inside the scheduler, so this is a list of edits and
nothing to run: it is written with --allow-unverified only. Source: junhyukso/GSD, test_GSD.py and
scheduler/jacobi_iteration_lumina_mgpt.py (So et al., ICCV 2025, arXiv:2508.07747).
"""

from __future__ import annotations

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import image
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_SCRIPT, _SCHEDULER = "test_GSD.json", "scheduler.json"


class Gsd(Exporter):
    engine = Engine(
        "GSD", "at 4216c7c", "test_GSD.py, scheduler/jacobi_iteration_lumina_mgpt.py",
        "gsd-4216c7c.json", "image",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        constants = image.jacobi(asked, name)
        documents: Documents = {
            _SCRIPT: {**constants, "guidance_scale": asked.knob("sampling.cfg")}
        }
        if asked.part("drafter") == "jacobi":
            verifier = asked.among("verifier", ("grouped",), name)
            image.check_residual(asked, name)
            if verifier == "grouped":
                documents[_SCHEDULER] = self._groups(asked)
        for knob, value in (("temperature", 1.0), ("top_p", 1.0)):
            if asked.knob(f"sampling.{knob}") != value:
                asked.refuse(
                    Code.NOT_EXPRESSIBLE, f"sampling.{knob}", f"{name} has {knob} {value}",
                    f"take a candidate with {knob} == {value}",
                )  # fmt: skip
        image.check_everywhere(asked, name)
        image.check_top_k(asked, name)
        asked.doubt("verifier", "its groups are numbers in its code, and its models are others")
        return documents

    def _groups(self, asked: Asked) -> dict[str, float | int]:
        if asked.knob("verifier.source") != "target":
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "verifier.source", "GSD groups by the target's ranking",
                "take a candidate with source == \"target\"",
            )  # fmt: skip
        if asked.knob("verifier.distance") < 1.0:
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "verifier.distance",
                "GSD's threshold is a distance, here it is a quantile of distances",
                "take a candidate with distance == 1",
            )  # fmt: skip
        size = int(asked.knob("verifier.size"))
        likelier = (size - 1) // 2
        return {
            "ranks_likelier": likelier,
            "ranks_less_likely": size - 1 - likelier,
            "probability_gap": asked.knob("verifier.probability"),
        }

    def use(self, asked: Asked, documents: Documents) -> str:
        return (
            f"edit the constants of test_GSD.py to FOLDER/{_SCRIPT} and those of its scheduler to "
            f"FOLDER/{_SCHEDULER}, with the distance threshold off"
        )


plugin = Gsd()
