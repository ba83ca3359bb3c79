# %% [markdown]
# # Is this embedding healthy?
#
# A healthy embedding here is an isotropic Gaussian: every direction equally wide, none special.
# Six arrays of 2,000 samples in 16 dimensions, one healthy and five ill in ways that embeddings
# are, and what `isojepa diagnose` says of each.

# %%
import numpy as np

rng = np.random.default_rng(0)
n, d = 2000, 16
rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
centres = 3 * rng.standard_normal((5, d))

embeddings = {
    "healthy": rng.standard_normal((n, d)),
    "collapsed": 1.5 + 0.01 * rng.standard_normal((n, d)),
    "dimensionally-collapsed": rng.standard_normal((n, 4)) @ rng.standard_normal((4, d)) / 2,
    "anisotropic": rng.standard_normal((n, d)) * np.geomspace(3, 0.2, d) @ rotation,
    "heavy-tailed": rng.standard_normal((n, d)) * np.sqrt(3 / rng.chisquare(5, (n, 1))),
    "clustered": centres[rng.integers(5, size=n)] + rng.standard_normal((n, d)),
}
for name, z in embeddings.items():
    np.save(f"{name}.npy", z.astype(np.float32))

# %% language="bash"
# isojepa diagnose healthy.npy --out healthy.html

# %% language="bash"
# isojepa diagnose clustered.npy --out clustered.html
