"""Write small LIF, ND2 and OIB files, which no library writes. Tests compare them with what
liffile, nd2 and oiffile read.
"""

import io
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

LIF_DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10}
ND2_MAGIC = 0x0ABECEDA


def write_lif(path: Path, series: dict[str, tuple[str, np.ndarray]], metres: float = 0.0) -> Path:
    """Write series of images.

    Args:
        path: The file.
        series: The axes and the values of each series, by its name. Axes are of TZMCYXS; S, the
            colours of a pixel, comes last.
        metres: The side of a pixel; 0 where none is stated.
    """
    root = ElementTree.Element("LMSDataContainerHeader", Version="2")
    project = ElementTree.SubElement(root, "Element", Name="project", UniqueID="0")
    children = ElementTree.SubElement(project, "Children")
    blocks = b""
    for index, (name, (axes, values)) in enumerate(series.items()):
        element = ElementTree.SubElement(children, "Element", Name=name, UniqueID=str(index + 1))
        image = ElementTree.SubElement(ElementTree.SubElement(element, "Data"), "Image")
        _describe_lif(image, axes, values, metres)
        block, content = f"MemBlock_{index}", values.tobytes()
        attributes = {"Size": str(len(content)), "MemoryBlockID": block}
        ElementTree.SubElement(element, "Memory", attributes)
        text = block.encode("utf-16-le")
        head = struct.pack("<IIBQBI", 0x70, 0, 0x2A, len(content), 0x2A, len(block))
        blocks += head + text + content
    xml = ElementTree.tostring(root, encoding="unicode").encode("utf-16-le")
    start = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2)
    path.write_bytes(start + xml + blocks)
    return path


def _describe_lif(image: ElementTree.Element, axes: str, values: np.ndarray, metres: float) -> None:
    description = ElementTree.SubElement(image, "ImageDescription")
    channels = ElementTree.SubElement(description, "Channels")
    sizes = dict(zip(axes, values.shape, strict=True))
    strides = dict(zip(axes, values.strides, strict=True))
    inner = "S" if "S" in axes else "C"
    for channel in range(sizes.get(inner, 1)):
        common = {"DataType": "0", "ChannelTag": str(channel + 1 if inner == "S" else 0)}
        common |= {"Resolution": str(8 * values.itemsize), "NameOfMeasuredQuantity": ""}
        common |= {"Min": "0", "Max": "1", "Unit": "", "LUTName": "Green", "IsLUTInverted": "0"}
        common |= {"BytesInc": str(channel * strides.get(inner, 0)), "BitInc": "0"}
        ElementTree.SubElement(channels, "ChannelDescription", common)
    dimensions = ElementTree.SubElement(description, "Dimensions")
    for axis in reversed([axis for axis in axes if axis not in "CS"]):
        length = metres * (sizes[axis] - 1) if axis in "YX" else 0.0
        attributes = {"DimID": str(LIF_DIMENSIONS[axis]), "NumberOfElements": str(sizes[axis])}
        attributes |= {"Origin": "0", "Length": repr(length), "Unit": "m", "BitInc": "0"}
        attributes |= {"BytesInc": str(strides[axis])}
        ElementTree.SubElement(dimensions, "DimensionDescription", attributes)


def write_nd2(path: Path, frames: np.ndarray, um: float, stored: int | None = None) -> Path:
    """Write points in time, in the form of version 2.1, whose metadata are XML.

    Args:
        path: The file.
        frames: (time, height, width, channels), 16 bits.
        um: The side of a pixel in µm.
        stored: How many of them are in the file, which an acquisition that was stopped has.
    """
    count, height, width, channels = frames.shape
    planes = {
        f"a{index}": {
            "uiCompCount": 1,
            "sDescription": f"c{index}",
            "uiSampleIndex": index,
            "pFluorescentProbe": {"uiVersion": 1},
        }
        for index in range(channels)
    }
    metadata = {
        "bCalibrated": True,
        "dCalibration": um,
        "sPicturePlanes": {"uiCount": channels, "sPlane": planes},
    }
    loop = {"uiCount": count, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * channels * 2,
        "uiHeight": height,
        "uiComp": channels,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 16,
        "uiSequenceCount": count if stored is None else stored,
        "eCompression": 2,
    }
    chunks = {
        b"ImageAttributes!": _xml(attributes),
        b"ImageMetadata!": _xml({"eType": 1, "uLoopPars": loop}),
        b"ImageMetadataSeq|0!": _xml(metadata),
    }
    for index, frame in enumerate(frames[:stored]):
        chunks[f"ImageDataSeq|{index}!".encode()] = struct.pack("<d", index) + frame.tobytes()
    content = _chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver2.1".ljust(64, b"\0"))
    chunk_map = b""
    for name, data in chunks.items():
        chunk_map += name + struct.pack("<QQ", len(content), len(data))
        content += _chunk(name.ljust(4072, b"\0"), data)
    location = len(content)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", location)
    content += _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", chunk_map + end)
    path.write_bytes(content)
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<IIQ", ND2_MAGIC, len(name), len(data)) + name + data


def _xml(values: dict) -> bytes:
    root = ElementTree.Element("variant", version="1.0")
    _fill(ElementTree.SubElement(root, "no_name", runtype="CLxListVariant"), values)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _fill(element: ElementTree.Element, values: dict) -> None:
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    for name, value in values.items():
        if isinstance(value, dict):
            _fill(ElementTree.SubElement(element, name, runtype="CLxListVariant"), value)
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            ElementTree.SubElement(element, name, runtype=kinds[type(value)], value=text)


SECTOR = 512
END_OF_CHAIN, FREE, FAT_SECTOR = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def write_oib(path: Path, planes: np.ndarray, um: float = 0.0) -> Path:
    """Write an OIB (Olympus), of planes (z, c, h, w).

    It is a compound file (MS-CFB) that holds a TIFF for each plane and two texts.
    """
    import tifffile

    depth, channels = planes.shape[:2]
    files = {}
    for z in range(depth):
        for c in range(channels):
            content = io.BytesIO()
            tifffile.imwrite(content, planes[z, c], metadata=None)
            files[f"s_C{c + 1:03}Z{z + 1:03}.tif"] = content.getvalue()
    reference = f'HeightConvertValue={um}\r\nHeightUnit="um"\r\n'
    reference += reference.replace("Height", "Width")
    main = (
        f"[Reference Image Parameter]\r\nValidBitCounts=12\r\n{reference}" if um else "[None]\r\n"
    )
    files["x.oif"] = _settings(main)
    streams = {f"Stream{number:05}": name for number, name in enumerate(files, start=1)}
    listed = "".join(f"{stream}={name}\r\n" for stream, name in streams.items())
    main_stream = next(stream for stream, name in streams.items() if name == "x.oif")
    info = _settings(f"[OibSaveInfo]\r\nVersion=2.0.0.0\r\nMainFileName={main_stream}\r\n{listed}")
    _write_compound(
        path, info, {stream: _at_least(files[name]) for stream, name in streams.items()}
    )
    return path


def _settings(text: str) -> bytes:
    return b"\xff\xfe" + f"{text}{';' * 2100}\r\n".encode("utf-16-le")


def _at_least(content: bytes, size: int = 4096) -> bytes:
    """Fill a stream up, since shorter ones lie in a stream of their own."""
    return content.ljust(size, b"\0")


def _write_compound(path: Path, info: bytes, streams: dict[str, bytes]) -> None:
    """Write a compound file of a text and of a storage that holds streams."""
    contents = [info, *streams.values()]
    counts = [-(-len(content) // SECTOR) for content in contents]
    entries = -(-(len(contents) + 2) // 4)
    total = sum(counts) + entries
    fat_sectors = 1
    while fat_sectors * (SECTOR // 4) < total + fat_sectors:
        fat_sectors += 1
    fat = [FAT_SECTOR] * fat_sectors
    starts = []
    for count in [entries, *counts]:
        starts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + count), END_OF_CHAIN]
    fat += [FREE] * (fat_sectors * (SECTOR // 4) - len(fat))
    nothing = FREE
    # The text, then the storage; and the streams of the storage, each to the right of the last
    directory = _directory_entry("Root Entry", 5, nothing, 1, END_OF_CHAIN, 0)
    directory += _directory_entry("OibInfo.txt", 2, 2, nothing, starts[1], len(info))
    directory += _directory_entry("Storage00001", 1, nothing, 3, 0, 0)
    for index, (name, content) in enumerate(streams.items()):
        following = index + 4 if index + 1 < len(streams) else nothing
        directory += _directory_entry(name, 2, following, nothing, starts[index + 2], len(content))
    directory = directory.ljust(entries * SECTOR, b"\0")
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    header += struct.pack("<HHHHH6xIII4x", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, starts[0])
    header += struct.pack("<IIIII", 4096, END_OF_CHAIN, 0, END_OF_CHAIN, 0)
    header += struct.pack("<109I", *range(fat_sectors), *[FREE] * (109 - fat_sectors))
    body = struct.pack(f"<{len(fat)}I", *fat) + directory
    body += b"".join(
        content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0") for content in contents
    )
    path.write_bytes(header + body)


def _directory_entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<64sHBBIII", text, len(text), kind, 1, FREE, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)
