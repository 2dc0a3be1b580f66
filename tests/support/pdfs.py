"""Builds PDF files by hand: pages of lines, fields, notes, pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence


def pages(*texts: str, annotations: tuple[str, ...] = (), picture_on: tuple[int, ...] = ()) -> bytes:
    """A PDF with a page for each text; lines are 14 points apart, and a blank line is a gap.

    `annotations` are the dictionaries of annotations on the first page, without their common entries.
    """
    form = "/AcroForm << /Fields [%s] /DA (/F1 12 Tf) >>"
    count = len(texts)
    first_mark = 5 + 2 * count
    marks = [f"{first_mark + place} 0 R" for place in range(len(annotations))]
    fields = [name for name, mark in zip(marks, annotations, strict=True) if "/Widget" in mark]
    kids = " ".join(f"{5 + 2 * place} 0 R" for place in range(count))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {form % ' '.join(fields) if fields else ''} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 "
        "/Length 1 >>\nstream\n0\nendstream",
    ]
    for place, text in enumerate(texts):
        content = "".join(
            f"BT /F1 12 Tf 1 0 0 1 72 {780 - 14 * row} Tm ({_escaped(line)}) Tj ET\n"
            for row, line in enumerate(text.split("\n"))
            if line
        )
        if place + 1 in picture_on:
            content += "q 500 0 0 700 50 50 cm /I1 Do Q\n"
        noted = f"/Annots [{' '.join(marks)}]" if marks and place == 0 else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 842] /Contents {6 + 2 * place} 0 R {noted} "
            "/Resources << /Font << /F1 3 0 R >> /XObject << /I1 4 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content.encode('cp1252'))} >>\nstream\n{content}endstream")
    objects += [f"<< /Type /Annot /Rect [100 100 200 120] {mark} >>" for mark in annotations]
    return written(objects)


def written(objects: Sequence[str | bytes], trailer: str = "") -> bytes:
    """Objects as a PDF file; the first is the catalog, and `trailer` has additional trailer entries."""
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        data = body if isinstance(body, bytes) else body.encode("cp1252")
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, data))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF"
    out.write(end.encode())
    return out.getvalue()


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
