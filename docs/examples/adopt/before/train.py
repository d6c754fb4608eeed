"""A character model, as many a script trains one: flags, a loop, the best model in one file, a log on the terminal."""

import argparse
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", required=True, help="a text file")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    args = parser.parse_args()

    letters = sorted(set(Path(args.text).read_text()))
    text = torch.tensor([letters.index(letter) for letter in Path(args.text).read_text()])
    model = Model(len(letters), args.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    best = float("inf")
    for step in range(args.steps):
        x, y = batch(text, args.batch_size, 32)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step={step + 1} loss={loss.item():.4f}")
        if loss.item() < best:
            best = loss.item()
            torch.save(model.state_dict(), "best.pt")


if __name__ == "__main__":
    main()
