# %% [markdown]
# # An encoder from a folder of images
#
# From a folder of pictures to an encoder, its scores and a report. The pictures are
# scikit-learn's 1,797 handwritten digits, so that nothing is downloaded; yours may lie in [any
# layout](../howto/labels.md) and be of any kind that Pillow reads.
#
# ## A folder
#
# One sub-folder per class. Classes are used for scores only: training never sees them, and a
# folder without any does as well.

# %%
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for i, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    name = Path("digits", str(label), f"{i:04d}.png")
    name.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((picture / 16 * 255).round().astype(np.uint8)).save(name)

# %% [markdown]
# ## Look before you train
#
# Training makes the views of one picture agree, so the views decide what is learnt. Each row
# holds the views of one digit; if you could not tell that they belong together, [choose another
# recipe](../howto/train.md#look-before-you-train).

# %% language="bash"
# isojepa pretrain --data digits --out run --preview views.png

# %%
Image.open("views.png")

# %% [markdown]
# ## Train
#
# Only `--data` and `--out` are needed; the rest is given here to be done in a minute. What was
# derived from the images is printed.

# %% language="bash"
# isojepa pretrain --data digits --out run --steps 150 --batch-size 128 --lr 4e-3 \
#     --projection-dim 32 --slices 256 --no-tensorboard

# %% [markdown]
# The table is about digits that were held out of training. The rows below the encoder are what it
# has to beat without any learning from these images. `run/report.html` shows all of it, with what
# to change.
#
# ## Use it

# %%
import torch

import isojepa

encoder = isojepa.load_encoder("run")
files = sorted(Path("digits").rglob("*.png"))
pictures = [Image.open(file) for file in files]
with torch.no_grad():
    z = encoder(torch.stack([encoder.preprocess(picture) for picture in pictures]))  # (n, d)
print(z.shape)

# %% [markdown]
# The nearest neighbours by cosine of six digits, which the encoder found without knowing what a
# seven is:

# %%
directions = torch.nn.functional.normalize(z - z.mean(0), dim=1)
asked = [50, 400, 800, 1100, 1300, 1600]
nearest = (directions[asked] @ directions.T).topk(8).indices  # the first is the digit itself
sheet = np.block([[np.pad(np.array(pictures[i]), 1) for i in row] for row in nearest])
Image.fromarray(sheet).resize((8 * 60, 6 * 60), Image.Resampling.NEAREST)

# %% [markdown]
# Next: [is the embedding healthy?](diagnose.md), [train on your images](../howto/train.md),
# [score and embed](../howto/evaluate.md), [use the encoder elsewhere](../howto/export.md).
