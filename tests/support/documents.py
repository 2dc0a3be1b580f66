"""A web page and a PDF to read."""

from __future__ import annotations

from tests.support.pdfs import written

ARTICLE = """<!doctype html><html><head><title> Tide  tables </title><script>var stolen = 1</script></head>
<body>
<nav><a href="/">Home</a> <a href="/about">About us</a> <a href="/shop">Shop</a></nav>
<article><h1>How tides are predicted</h1>
<p>The height of the tide at a harbour is the sum of many waves, each with the period of a motion of the Moon
or the Sun. Their sizes are found by measuring at that harbour for at least a year.</p>
<p>With the sizes known, the height can be predicted for decades, to within a few centimetres on a calm day. A
storm adds to it what no table knows.</p></article>
<aside class="advert">Buy rubber boots now for 9.99</aside>
<footer>Printed at 12:31:07. All rights reserved. Imprint.</footer></body></html>"""


def pdf(text: str, *, filters: bytes = b"", stream: bytes | None = None) -> bytes:
    """A PDF of one page that says `text`."""
    content = stream if stream is not None else f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), filters, content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title (A lease) >>",
    ]
    return written(objects, "/Info 6 0 R")
