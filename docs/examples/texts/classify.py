"""Two stages of one's own: text files -> labelled pieces -> a model that tells which class a piece of text is of.

The model is a bag of hashed character n-grams: an embedding for each, their mean, a hidden layer. Nothing here belongs
to the product; a config names these functions as "classify:collect" and "classify:train".
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from repro import StageError, main

PRIMES = (1, 31, 961, 29791, 923521)  # the weights of an n-gram's characters in its hash


def collect(run):
    """Cut the files of each class into pieces; a whole file is held out or none of it, so that no piece is half known.

    Leaves pieces.jsonl: one `{"class", "held_out", "text"}` a line.
    """
    params = run.params
    classes, masks = params["classes"], params["masks"]
    length, share = params.get("characters", 400), params.get("held_out", 0.25)
    if len(classes) != len(masks):
        raise StageError(f'"masks": one for each of the {len(classes)} classes, got {len(masks)}')
    counts = dict.fromkeys(classes, 0)
    with run.open("pieces.jsonl") as file:
        for number, (name, mask) in enumerate(zip(classes, masks, strict=True)):
            for path in sorted(Path(run.data).glob(mask)):
                text = path.read_text(encoding="utf-8", errors="replace")
                # By its name, not by chance: one file more moves no other to the other side.
                held_out = zlib.crc32(path.relative_to(run.data).as_posix().encode()) % 1000 < share * 1000
                for start in range(0, len(text) - length + 1, length):
                    piece = {"class": number, "held_out": held_out, "text": text[start : start + length]}
                    file.write(json.dumps(piece, ensure_ascii=False) + "\n")
                    counts[name] += 1
            if not counts[name]:
                raise StageError(f'"masks": {mask} fits no file in {run.data} of {length} characters or more')
            run.progress(number + 1, len(classes))
    return counts


def train(run):
    """Fit the model to the pieces that are not held out, count how many of the others it gets right."""
    params = run.params
    buckets, longest = params.get("buckets", 1 << 14), params.get("ngrams", 3)
    epochs, batch, lr = params.get("epochs", 6), params.get("batch", 64), params.get("lr", 3e-3)
    with (run.source / "pieces.jsonl").open(encoding="utf-8") as file:
        pieces = [json.loads(line) for line in file]
    bags = torch.stack([ngrams(piece["text"], longest, buckets) for piece in pieces])
    labels = torch.tensor([piece["class"] for piece in pieces])
    held_out = torch.tensor([piece["held_out"] for piece in pieces])
    model = Classifier(buckets, params.get("width", 32), int(labels.max()) + 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    known, losses = (~held_out).nonzero().flatten(), []
    for epoch in range(epochs):
        total = 0.0
        for chosen in known[torch.randperm(len(known))].split(batch):
            loss = nn.functional.cross_entropy(model(bags[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
        losses.append(total / len(known))
        run.progress(epoch + 1, epochs, loss=losses[-1])
    with torch.no_grad():
        right = (model(bags[held_out]).argmax(1) == labels[held_out]).float().mean().item()
    with run.open("model.safetensors", "xb") as file:
        file.write(save(model.state_dict()))
    with run.open("losses.csv") as file:
        file.write("epoch,loss\n" + "".join(f"{epoch + 1},{loss!r}\n" for epoch, loss in enumerate(losses)))
    chance = labels[held_out].bincount().max().item() / int(held_out.sum())  # who always says the commonest class
    return {"accuracy": right, "chance": chance, "loss": losses[-1], "held_out": int(held_out.sum())}


class Classifier(nn.Module):
    def __init__(self, buckets, width, classes):
        super().__init__()
        self.embedding = nn.EmbeddingBag(buckets, width, mode="mean")
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, bags):
        """(batch, n-grams) of bucket numbers -> (batch, classes)."""
        return self.layers(self.embedding(bags))


def ngrams(text, longest, buckets):
    """The bucket numbers of a text's character n-grams, of 1 character to the longest; int64, one after the other."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    found = []
    for n in range(1, longest + 1):
        hashed = sum(codes[i : len(codes) - n + 1 + i] * PRIMES[i] for i in range(n))
        found.append((hashed * 2654435761 + n) % 4294967291 % buckets)
    return torch.from_numpy(np.concatenate(found))


if __name__ == "__main__":  # without any queue: python classify.py train -c model.json
    main(f"classify:{sys.argv[1]}", sys.argv[2:])
