"""A stage with Lightning: its own checkpoints go through the run's, and it goes on from them.

At the first batch of an epoch, where it can go on exactly; and with random numbers that follow from the epoch: what it
draws before it begins to train differs between a run that begins and one that goes on.
"""

import tempfile
from pathlib import Path

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset


class Model(lightning.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))

    def on_train_batch_start(self, batch, batch_idx):
        if batch_idx == 0:
            torch.manual_seed(self.current_epoch)

    def training_step(self, batch, _):
        x, y = batch
        return (self.layers(x) - y).square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


class Order(Sampler):
    """Of each epoch, from its number."""

    def __init__(self, size, model):
        self.size, self.model = size, model

    def __len__(self):
        return self.size

    def __iter__(self):
        chance = torch.Generator().manual_seed(self.model.current_epoch)
        return iter(torch.randperm(self.size, generator=chance).tolist())


class Keep(lightning.Callback):
    """Saves at the beginning of an epoch if the run asks for a checkpoint, and keeps it."""

    def __init__(self, run, work):
        self.run, self.folder = run, Path(work, "saved")

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.run.progress(trainer.global_step, trainer.max_steps, loss=outputs["loss"])

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 0 and trainer.global_step and self.run.checkpoint_due(trainer.global_step):
            trainer.save_checkpoint(self.folder / "last.ckpt")
            self.run.save_folder(trainer.global_step, self.folder)


def train(run):
    work = tempfile.mkdtemp()  # what the trainer writes there is no result
    model = Model(run.params.get("lr", 1e-2))
    x = torch.arange(64).unsqueeze(1) / 64
    batches = DataLoader(TensorDataset(x, x * x), 8, sampler=Order(64, model), generator=torch.Generator())
    trainer = lightning.Trainer(
        default_root_dir=work,
        max_steps=run.params.get("steps", 40),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Keep(run, work)],
    )
    kept = Path(work, "kept")
    trainer.fit(model, batches, ckpt_path=str(kept / "last.ckpt") if run.load_folder(kept) else None)
    torch.save(model.state_dict(), run.path("model.pt"))
