"""An image file of 8 bits a channel -> its pixels, upright, over white. Needs Pillow alone."""

from typing import Any

from PIL import Image, ImageOps


def upright(file: Any, channels: int) -> Image.Image:
    """The image in file (a path or an open file), turned as its EXIF says: grey or RGB."""
    image = ImageOps.exif_transpose(Image.open(file))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")
