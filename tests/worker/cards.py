"""An inventory that says what a test wants: how cards are used changes when the test changes it."""

from dataclasses import dataclass, field

from repro.worker.gpus import Card, Load


@dataclass
class Fixed:
    uuids: tuple = ()
    loads: dict = field(default_factory=dict)  # card -> its load; one that is missing is idle, None does not answer

    def cards(self):
        return [Card(uuid, "a card", 80 << 30) for uuid in self.uuids]

    def load(self, uuid):
        return self.loads.get(uuid, Load(0))
