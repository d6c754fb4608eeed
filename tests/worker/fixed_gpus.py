"""An inventory that says what a test wants: how GPUs are used changes when the test changes it."""

from dataclasses import dataclass, field

from repro.worker.gpus import Gpu, Load


@dataclass
class FixedGpus:
    uuids: tuple = ()
    loads: dict = field(default_factory=dict)  # UUID -> its load; one that is missing is idle, None does not answer

    def gpus(self):
        return [Gpu(uuid, "a card", 80 << 30) for uuid in self.uuids]

    def load(self, uuid):
        return self.loads.get(uuid, Load(0))
