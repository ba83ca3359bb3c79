# %% [markdown]
# # SIGReg in your own loop
#
# Two networks learn to agree about two noisy views of a handwritten digit; nobody tells them
# which digit it is. One has SIGReg in its loss, the other has not. Their embeddings have two
# dimensions, so that a plot shows all there is.

# %%
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from isojepa import SIGReg

digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16  # (1797, 64): 8 x 8 pixels in [0, 1]


def network():
    torch.manual_seed(0)
    linear, gelu = torch.nn.Linear, torch.nn.GELU
    return torch.nn.Sequential(linear(64, 256), gelu(), linear(256, 256), gelu(), linear(256, 2))


# %% [markdown]
# ## The loop
#
# SIGReg is one line of it. It takes the embeddings, samples on axis -2, and here both views at
# once.


# %%
def train(lambd, steps=600):
    model, sigreg = network(), SIGReg(slices=64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    noise = torch.Generator().manual_seed(0)
    history = []
    for _ in range(steps):
        batch = x[torch.randint(len(x), (256,), generator=noise)]
        a, b = (model(batch + 0.2 * torch.randn(batch.shape, generator=noise)) for _ in range(2))
        agreement = (a - b).square().mean()
        gaussian = sigreg(torch.stack([a, b]))  # (2, 256, 2)
        loss = (1 - lambd) * agreement + lambd * gaussian
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append((agreement.item(), gaussian.item()))
    return model.eval(), history


with_sigreg, history = train(lambd=0.05)
without, history_without = train(lambd=0)
for name, last in (("lambda 0.05", history[-1]), ("lambda 0", history_without[-1])):
    print(f"{name:12} agreement {last[0]:.6f}   SIGReg {last[1]:.2f}")

# %% [markdown]
# Without SIGReg the views agree to perfection, and the loss is as small as it can be. With it
# they agree less. Which of the two has learnt something?

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
cases = (("lambda 0.05", with_sigreg), ("lambda 0", without))
for axis, (name, model) in zip(axes, cases, strict=True):
    with torch.no_grad():
        z = model(x)
    axis.scatter(*z.T, c=digits.target, cmap="tab10", s=4)
    axis.set(title=f"{name}: standard deviation {z.std(0).mean():.2g}", aspect="equal")
    axis.set(xlim=(-4, 4), ylim=(-4, 4))
plt.show()

# %% [markdown]
# Every digit has collapsed onto one point where SIGReg was missing. Where it stood in the loss,
# the same network, data and updates spread the digits over a round Gaussian, and images that look
# alike lie together.
#
# ## Near its floor, not near 0
#
# SIGReg is a test statistic. A perfect Gaussian scores `SIGReg.floor`, and that is where a
# healthy training ends; the collapsed network scores about 0.4 times the batch.

# %%
figure, axis = plt.subplots(figsize=(7, 3))
axis.semilogy([gaussian for _, gaussian in history], label="lambda 0.05")
axis.semilogy([gaussian for _, gaussian in history_without], label="lambda 0")
axis.axhline(SIGReg().floor, color="black", lw=1, label=f"floor, {SIGReg().floor:.2f}")
axis.set(xlabel="update", ylabel="SIGReg")
axis.legend()
plt.show()

# %% [markdown]
# Next: [which tensor, what value, batches that do not fit](../howto/sigreg.md), [how to choose
# lambda](../howto/lambda.md), and [why a Gaussian](../explanation/method.md).
