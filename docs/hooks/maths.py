"""A hook of mkdocs: formulas become MathML when the site is built, so that pages load nothing."""

import html
import re

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Replace what arithmatex marked."""
    content = INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return BLOCK.sub(
        lambda found: (
            f'<div class="formula">{convert(html.unescape(found[1]), display="block")}</div>'
        ),
        content,
    )
