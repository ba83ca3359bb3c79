"""What to write to use an exported folder, for its model card."""

from collections.abc import Iterator

from isojepa.encoders.export.formats import NEEDS, Format
from isojepa.encoders.modalities.images.encoder import Encoder

EXACT = """```bash
pip install {needs}
python embed.py embeddings.npy photo.jpg another.png
```"""
TIMM = """```python
model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # or hf-hub:owner/name
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
z = model(transform(image)[None])  # a Pillow image of mode {mode}
```"""
TRANSFORMERS = """```python
model = transformers.TimmWrapperModel.from_pretrained("FOLDER")  # or owner/name
processor = transformers.AutoImageProcessor.from_pretrained("FOLDER")
z = model(**processor(image, return_tensors="pt")).pooler_output
```"""
ONNX = """```python
session = onnxruntime.InferenceSession("encoder.onnx")
pixels = np.asarray(image.convert("{mode}")).reshape(1, image.height, image.width, {channels})
z = session.run(None, {{"pixels": pixels}})[0]  # any image of at least 2 x 2 pixels
```"""
TORCH = """```python
encoder = torch.export.load("encoder.pt2").module()
pixels = np.array(image.convert("{mode}")).reshape(1, image.height, image.width, {channels})
z = encoder(torch.from_numpy(pixels))  # any image of at least 2 x 2 pixels
```"""


def uses(kind: Format, encoder: Encoder) -> Iterator[str]:
    """Paragraphs and code, the exact way first."""
    spec = encoder.spec
    words = {"mode": "L" if spec.channels == 1 else "RGB", "channels": spec.channels}
    yield "Exactly as trained, from files to one embedding a row:"
    yield EXACT.format(needs=NEEDS[kind])
    if kind == "onnx":
        yield "In a program (images upright, of 8 bits a channel):"
        yield ONNX.format(**words)
    elif kind == "torch-export":
        yield "In a program (images upright, of 8 bits a channel):"
        yield TORCH.format(**words)
    elif kind == "timm":
        yield "By timm's own means, whose transform differs as said below:"
        yield TIMM.format(**words)
        if spec.channels == 3:
            yield "And by transformers:"
            yield TRANSFORMERS
        yield from _tokens(encoder)
    else:
        yield (
            "`embed.py` shows how plain timm rebuilds the network, and `embedding.py` how images "
            "are prepared; the names of the weights are timm's after `backbone.`."
        )


def _tokens(encoder: Encoder) -> Iterator[str]:
    if encoder.spec.embedding == "class_tokens":
        d = encoder.embedding_dim
        yield (
            f"The embedding is the class tokens after the last two blocks, normalised, side by "
            f"side: {d} numbers. No setting of timm's gives that: `model(x)` and `pooler_output` "
            f"are the last {d // 2} of them, the token of the last block. `forward` in "
            "`embedding.py` gives all, by timm's `forward_intermediates`."
        )
