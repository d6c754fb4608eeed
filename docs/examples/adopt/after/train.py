"""The same character model as a stage: keys instead of flags, and checkpoints in three lines."""

from pathlib import Path

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, letters, hidden):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(letters, hidden), nn.GRU(hidden, hidden, batch_first=True)
        self.drop, self.out = nn.Dropout(0.1), nn.Linear(hidden, letters)

    def forward(self, x):
        return self.out(self.drop(self.rnn(self.embed(x))[0]))


def batch(text, size, length):
    starts = torch.randint(len(text) - length - 1, (size,))
    rows = torch.stack([text[start : start + length + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def main(run):
    params = run.params
    letters = sorted(set(Path(params["text"]).read_text()))
    text = torch.tensor([letters.index(letter) for letter in Path(params["text"]).read_text()])
    model = Model(len(letters), params.get("hidden", 32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.get("lr", 3e-3))
    steps, best = params.get("steps", 60), {"loss": float("inf"), "weights": None}
    for step in range(run.load_state(model=model, optimizer=optimizer, best=best), steps):
        x, y = batch(text, params.get("batch_size", 16), 32)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.progress(step + 1, steps, loss=loss)
        if loss.item() < best["loss"]:
            best.update(loss=loss.item(), weights={name: w.clone() for name, w in model.state_dict().items()})
        if run.checkpoint_due(step + 1):
            run.save_state(step + 1, model=model, optimizer=optimizer, best=best)
    torch.save(best["weights"], run.path("best.pt"))
    return {"loss": best["loss"]}
