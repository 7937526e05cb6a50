"""Teaches a small network to tell two spirals apart, and keeps its state in a checkpoint from which it goes on."""

import argparse
import math
import os
from pathlib import Path

import torch
from torch import nn


def spirals(points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on two interleaved spirals, with noise, and which spiral each is on."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(points) % 2
    turn = torch.rand(points, generator=generator).sqrt() * 3 * math.pi
    angle = turn + labels * math.pi
    noise = 0.02 * torch.randn(points, 2, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) * turn[:, None] / (3 * math.pi) + noise, labels


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    options = parser.parse_args()
    checkpoint = options.out / "spirals.pt"
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    first = 1
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
        print(f"going on after epoch {state['epoch']}", flush=True)

    inputs, labels = spirals(2000, seed=1)
    unseen, truth = spirals(500, seed=2)
    for epoch in range(first, first + options.epochs):
        order = torch.randperm(len(inputs))
        total = 0.0
        for batch in order.split(100):
            loss = nn.functional.cross_entropy(network(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        if epoch % 10 == 0 or epoch == first + options.epochs - 1:
            with torch.no_grad():
                accuracy = (network(unseen).argmax(1) == truth).float().mean().item()
            print(f"epoch {epoch}: loss {total / len(inputs):.4f}, accuracy {accuracy:.3f}", flush=True)

    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, checkpoint)  # never half a checkpoint
    print(f"wrote {checkpoint}")


if __name__ == "__main__":
    main()
