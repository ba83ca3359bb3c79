# %% [markdown]
# # Is this embedding healthy?
#
# A healthy embedding here is an isotropic Gaussian: every direction equally wide, none special.
# Six arrays of 2,000 samples in 16 dimensions, one healthy and five ill in ways that embeddings
# are, and what `isojepa.diagnose` says of each.

# %%
import numpy as np

import isojepa

rng = np.random.default_rng(0)
n, d = 2000, 16
rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
centres = 3 * rng.standard_normal((5, d))

embeddings = {
    "healthy": rng.standard_normal((n, d)),
    "on a point": 1.5 + 0.01 * rng.standard_normal((n, d)),
    "in four directions": rng.standard_normal((n, 4)) @ rng.standard_normal((4, d)) / 2,
    "stretched": rng.standard_normal((n, d)) * np.geomspace(2, 0.3, d) @ rotation,
    "with wild samples": rng.standard_normal((n, d)) * np.sqrt(3 / rng.chisquare(5, (n, 1))),
    "in clumps": (centres[rng.integers(5, size=n)] + rng.standard_normal((n, d))) / 3,
}

# %% [markdown]
# ## The verdicts

# %%
diagnoses = {name: isojepa.diagnose(z, name=name) for name, z in embeddings.items()}
for name, diagnosis in diagnoses.items():
    print(f"{name:20} {', '.join(diagnosis.states)}")

# %% [markdown]
# ## The whole of one
#
# Printed, a diagnosis is what `isojepa diagnose FILE` puts on the screen: the findings, the
# gravest first, with their numbers, and what to change.

# %%
print(diagnoses["in clumps"])

# %% [markdown]
# In a notebook it shows itself, with its figures:

# %%
diagnoses["stretched"]

# %% [markdown]
# Every number has a name, so that a training loop can watch it, and `save` writes the page with all
# of it:

# %%
for name, diagnosis in diagnoses.items():
    rank, deviation = diagnosis.numbers["effective_rank"], diagnosis.numbers["deviation"]
    print(f"{name:20} effective rank {rank:5.2f} of {d}   standard deviation {deviation:.3f}")
diagnoses["healthy"].save("healthy.html")

# %% [markdown]
# The point is the instructive one. Its effective rank is that of a healthy embedding, because what
# little noise is left is round; only the scale tells.
#
# ## A trained encoder's
#
# An encoder's output has no scale of its own: ask for its shape alone with `any_scale=True`. The
# projections, where SIGReg acts, have one.
#
# ```python
# encoder = isojepa.load_encoder("run")
# isojepa.diagnose(encoder(images), any_scale=True)
# ```
#
# ```bash
# isojepa embed run --data photos --out embeddings.npz
# isojepa diagnose embeddings.npz --any-scale
# ```
#
# Next: [files, settings and single tests](../howto/diagnose.md), [larger samples of known laws and
# of an encoder before and after training](../explanation/known-laws.md), [the power of each
# test](../explanation/power.md).
