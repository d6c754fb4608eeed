"""A stage with Hugging Face's Trainer: its own checkpoints go through the run's, and it goes on from them."""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments


class Squares(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, at):
        x = torch.tensor([at / 64])
        return {"x": x, "labels": x * x}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))

    def forward(self, x, labels=None):
        y = self.layers(x)
        return {"loss": (y - labels).square().mean(), "logits": y}


class Keep(TrainerCallback):
    """Lets the trainer save when the run asks for a checkpoint, and keeps what it has saved."""

    def __init__(self, run):
        self.run = run

    def on_step_end(self, args, state, control, **_):
        control.should_save = self.run.checkpoint_due(state.global_step)

    def on_save(self, args, state, control, **_):
        self.run.save_folder(state.global_step, Path(args.output_dir, f"checkpoint-{state.global_step}"))

    def on_log(self, args, state, control, logs, **_):
        self.run.progress(
            state.global_step, state.max_steps, **{k: v for k, v in logs.items() if k in ("loss", "grad_norm")}
        )


def train(run):
    work = tempfile.mkdtemp()  # what the trainer writes there is no result
    options = TrainingArguments(
        output_dir=work,
        max_steps=run.params.get("steps", 40),
        learning_rate=run.params.get("lr", 1e-2),
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=run.params.get("seed", 0),
    )
    trainer = Trainer(Model(), options, train_dataset=Squares(), callbacks=[Keep(run)])
    kept = Path(work, "kept")
    trainer.train(resume_from_checkpoint=str(kept) if run.load_folder(kept) else None)
    torch.save(trainer.model.state_dict(), run.path("model.pt"))
