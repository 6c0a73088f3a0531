"""Kinds of files that hold images and are not read: their names, their marks, and their cures."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is, as people call it, and how to make an image of it that is read."""

    name: str
    """Such as "an Imaris file"."""
    cure: str
    is_image: bool = True
    """Whether it is one or several images, and not something that may hold some, such as a zip."""


GIMP = "Open it in GIMP or another image program, and export it as PNG."
PHOTOS = "Export it as JPEG or PNG, which telephones and photo programs do."
CAMERA = "Export it as JPEG or TIFF with darktable, RawTherapee or the camera's own program."
FIJI = "Export it as OME-TIFF: Fiji opens it by Bio-Formats, and saves it so."
SLIDE = "Export it, or the region that counts, as OME-TIFF with QuPath."
VOLUME = (
    "Save it as a TIFF stack, for example in Python with SimpleITK: "
    "sitk.WriteImage(sitk.ReadImage(FILE), NAME.tif)."
)
ARRAY = "Save its images as PNG or TIFF, for example in Python with tifffile.imwrite."
FRAMES = "Export its frames as PNG: ffmpeg -i FILE NAME_%06d.png."
ELEMENT = "If it is an image, export it as PNG or TIFF."

HEIC = FileKind("a HEIC photograph", PHOTOS)
JPEG_2000 = FileKind("a JPEG 2000 of several images", GIMP)
JPEG_XL = FileKind("a JPEG XL", GIMP)
PHOTOSHOP = FileKind("a Photoshop file", GIMP)
GIMP_FILE = FileKind("a GIMP file", GIMP)
EXR = FileKind("an OpenEXR image", GIMP)
NETPBM = FileKind("a Netpbm image", GIMP)
ICON = FileKind("an icon", GIMP)
SVG = FileKind("an SVG drawing", "Export it as PNG, for example with Inkscape.")
POSTSCRIPT = FileKind("a PostScript drawing", GIMP)
PDF = FileKind("a PDF", "Export its pages as PNG: pdftoppm -png FILE NAME.", is_image=False)
MICROSCOPE_XML = FileKind("OME-XML", FIJI)
NIFTI = FileKind("a NIfTI volume in two files", "Save it as one .nii file.")
NRRD = FileKind("an NRRD volume in two files", "Save it as one .nrrd file.")
NUMPY = FileKind("a NumPy array", ARRAY)
HDF5 = FileKind("an HDF5 file", ARRAY)
MATLAB = FileKind("a MATLAB file", ARRAY)
FITS = FileKind("a FITS image", GIMP)
VIDEO = FileKind("a video", FRAMES, is_image=False)
ZIP = FileKind("a zip archive", "Unpack it.", is_image=False)
GZIP = FileKind("a gzip archive", "Unpack it.", is_image=False)
ARCHIVE = FileKind("an archive", "Unpack it.", is_image=False)
DOWNLOAD = FileKind("an unfinished download", "Fetch it again, until it is whole.")
BACKUP = FileKind(
    "a backup or temporary copy, by its name",
    "If it is to be read, give it the suffix of its format.",
    is_image=False,
)
SHORTCUT = FileKind(
    "a Windows shortcut", "Put the file that it leads to in its place.", is_image=False
)
LFS_POINTER = FileKind(
    "a Git LFS pointer, whose content was never fetched", "Fetch it: git lfs pull."
)
HTML = FileKind("a text such as HTML or SVG", "Fetch it again: a web server may have refused it.")
EMPTY = FileKind("an empty file", "Copy it again.")
LOCKED = FileKind(
    "a file that cannot be opened",
    "It may be a link that leads nowhere, or you may have no right to read it.",
    is_image=False,
)
NOT_A_FILE = FileKind(
    "a pipe, a socket or a device, and not a file",
    "Put the file that it should be in its place.",
    is_image=False,
)
LOCKED_FOLDER = FileKind(
    "a folder that cannot be opened", "Give yourself the right to read it.", is_image=False
)
N5 = FileKind("an N5 store", "Save it as OME-Zarr, for example with Fiji.")
UNKNOWN = FileKind("a file of unknown content", ELEMENT, is_image=False)


def _named(cure: str, names: dict[str, str]) -> dict[str, FileKind]:
    """Kinds by suffixes; one entry may name several, with spaces between."""
    return {
        suffix: FileKind(name, cure)
        for suffixes, name in names.items()
        for suffix in suffixes.split()
    }


def _alike(kind: FileKind, suffixes: str) -> dict[str, FileKind]:
    return dict.fromkeys(suffixes.split(), kind)


CAMERA_RAW = _named(
    CAMERA,
    {
        ".cr2 .cr3 .crw": "the raw data of a Canon camera",
        ".nef .nrw": "the raw data of a Nikon camera",
        ".arw .srf .sr2": "the raw data of a Sony camera",
        ".dng .raf .orf .rw2 .pef .srw .3fr .iiq .x3f .erf .mrw .rwl .kdc .dcr": (
            "the raw data of a camera"
        ),
    },
)
SLIDES = _named(
    SLIDE,
    {
        ".ndpis .vms .vmu": "a Hamamatsu slide of several files",
        ".vsi .ets": "an Olympus slide",
        ".isyntax": "a Philips slide",
        ".qptiff": "a PerkinElmer slide",
    },
)
MICROSCOPES = _named(
    FIJI,
    {
        ".lsm .zvi": "a Zeiss microscope file",
        ".lof .xlef .lei": "a Leica microscope file",
        ".oif .oir .poir": "an Olympus microscope file",
        ".ims": "an Imaris file",
        ".dv .r3d": "a DeltaVision microscope file",
        ".stk .nd": "a MetaMorph stack",
        ".sld .sldy": "a SlideBook file",
        ".flex .mvd2 .lim .obf .msr .spe .dm3 .dm4 .ser .emd .sif .gel .ipl .ipw": (
            "a microscope file"
        ),
    },
)
VOLUMES = _named(
    VOLUME,
    {
        ".mha .mhd": "a MetaImage volume",
        ".mgh .mgz": "a FreeSurfer volume",
        ".mnc": "a MINC volume",
    },
)
KINDS: dict[str, FileKind] = {
    **CAMERA_RAW,
    **SLIDES,
    **MICROSCOPES,
    **VOLUMES,
    **_alike(HEIC, ".heic .heif .hif"),
    **_alike(JPEG_2000, ".jpm"),
    **_alike(JPEG_XL, ".jxl"),
    **_alike(PHOTOSHOP, ".psd .psb"),
    **_alike(GIMP_FILE, ".xcf"),
    **_alike(EXR, ".exr"),
    **_alike(NETPBM, ".pbm .pgm .ppm .pnm .pam .pfm"),
    **_alike(ICON, ".ico .icns .cur"),
    **_alike(SVG, ".svg .svgz"),
    **_alike(POSTSCRIPT, ".eps .ps .ai"),
    **_alike(PDF, ".pdf"),
    **_alike(MICROSCOPE_XML, ".ome"),
    **_alike(NRRD, ".nhdr"),
    **_alike(NUMPY, ".npy .npz"),
    **_alike(HDF5, ".h5 .hdf5 .hdf .he5"),
    **_alike(MATLAB, ".mat"),
    **_alike(FITS, ".fits .fit .fts"),
    **_alike(VIDEO, ".mp4 .m4v .mov .avi .mkv .wmv .webm .mpg .mpeg .mts .m2ts .3gp .flv .ogv"),
    **_alike(ZIP, ".zip .cbz"),
    **_alike(GZIP, ".gz .tgz"),
    **_alike(ARCHIVE, ".tar .bz2 .tbz .tbz2 .xz .txz .7z .rar .zst .iso .dmg"),
    **_alike(DOWNLOAD, ".crdownload .part .partial .download .opdownload"),
    **_alike(BACKUP, ".bak .old .orig .tmp .temp .swp"),
    **_alike(SHORTCUT, ".lnk"),
    ".tga": FileKind("a TGA image", GIMP),
    ".dds": FileKind("a DDS texture", GIMP),
    ".pcx": FileKind("a PCX image", GIMP),
    ".raw": FileKind("raw data without a header", ELEMENT),
    ".img": FileKind("a raw volume or raster", ELEMENT),
    ".kra": FileKind("a Krita file", "Export it as PNG with Krita."),
    ".ecw": FileKind("an ECW raster", "Convert it: gdal_translate FILE NAME.tif."),
    ".sid": FileKind("a MrSID raster", "Convert it: gdal_translate FILE NAME.tif."),
}
"""Of files by their suffixes, in lower case."""
KEPT_SUFFIXES = frozenset(
    {*CAMERA_RAW, *SLIDES, *MICROSCOPES}
    | {suffix for suffix, kind in KINDS.items() if kind in {DOWNLOAD, BACKUP}}
)
"""Whose files may begin as one of a format that is read, and hold a thumbnail or half of it."""
_COMPANIONS = """
    .bat .c .cc .cfg .conf .cpp .cs .css .cu .dockerfile .h .hpp .htm .html .ini .ipynb .java .js
    .ijm .groovy .lock .log .m .md .pl .properties .py .pyc .r .rmd .rs .rst .sh .sql .tex .toml
    .ts .txt .yaml .yml .json .jsonl .xml .xsd .xsl .csv .tsv .geojson .names .data
    .doc .docx .odp .ods .odt .ppt .pptx .rtf .xls .xlsx .xlsm .bib .url .webloc .desktop
    .aae .lrv .thm .xmp .pp3 .dop .db .db-shm .db-wal
    .sqlite .sqlite-journal .sqlite-shm .sqlite-wal .sqlite3
    .aux .cpg .dbf .fgb .gpkg .hdr .j2w .jgw .jpgw .kml .msk .ovr .pgw .pngw .prj .qgz .qgs
    .qpproj .qpdata .sbn .sbx .shp .shx .tfw .tifw .wld .points .vrt .ovl .bvec .bval .bvecs
    .bvals .mps .roi .afm .par .lut .dat .xmf .swc .obj .stl .ply .vtk .off
    .bin .caffemodel .ckpt .joblib .keras .meta .mlmodel .msgpack .onnx .pb .pickle .pkl .pt .pth
    .safetensors .tflite .arrow .feather .parquet .tfrecord .tfrecords .mdb .lmdb
    .class .dll .dylib .exe .jar .o .so .whl .ttf .otf .woff .woff2
    .aac .flac .m4a .mp3 .ogg .wav .wma .srt .vtt .md5 .sha1 .sha256 .sha512 .asc .sig .gitignore
"""
COMPANION_SUFFIXES = frozenset(_COMPANIONS.split())
"""Of files that lie beside images and are none."""
DOUBTFUL_SUFFIXES = frozenset({".bin", ".dat", ".data"})
"""Those of them that any program gives to any file. They alone are opened."""

FOREIGN_STORES = {".n5": N5}
"""Of folders that are one image and are not read, by their suffixes."""
WRAPPERS = frozenset({ZIP, GZIP, ARCHIVE, UNKNOWN})
"""Of content that says less of a file than its suffix does."""

_BY_START: tuple[tuple[bytes, FileKind], ...] = (
    (b"%PDF", PDF),
    (b"%!PS", POSTSCRIPT),
    (b"PK\x03\x04", ZIP),
    (b"Rar!", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"\xfd7zXZ", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"\x1f\x8b", GZIP),
    (b"8BPS", PHOTOSHOP),
    (b"gimp xcf", GIMP_FILE),
    (b"v/1\x01", EXR),
    (b"\x00\x00\x00\x0cJXL ", JPEG_XL),
    (b"\x93NUMPY", NUMPY),
    (b"\x89HDF", HDF5),
    (b"MATLAB 5.0", MATLAB),
    (b"SIMPLE  =", FITS),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"version https://git-lfs", LFS_POINTER),
)
_ISO_BRANDS = {b"heic": HEIC, b"heix": HEIC, b"mif1": HEIC, b"msf1": HEIC, b"hevc": HEIC}
_ISO_BRANDS |= {b"crx ": CAMERA_RAW[".cr3"]}


def kind_by_name(name: str) -> FileKind | None:
    """Tell by a file's name what it is; None where its suffix says nothing of images."""
    lower = name.lower()
    inner = PurePosixPath(lower).stem
    if lower.endswith((".gz", ".bz2", ".xz", ".zst")):
        suffix = PurePosixPath(inner).suffix
        if lower.endswith(".nii.gz"):
            return None
        # Such as a table that was packed
        return None if suffix in COMPANION_SUFFIXES else KINDS[PurePosixPath(lower).suffix]
    # As editors name their copies
    is_copy = lower.endswith("~") or re.search(r"(^|/)#[^/]*#$", lower)
    return BACKUP if is_copy else KINDS.get(PurePosixPath(lower).suffix)


def is_companion(name: str) -> bool:
    """Whether a file's suffix says that it is no image, and that it need not be opened."""
    lower = name.lower()
    return PurePosixPath(lower).suffix in COMPANION_SUFFIXES - DOUBTFUL_SUFFIXES or (
        lower.endswith((".gz", ".bz2", ".xz", ".zst")) and kind_by_name(lower) is None
    )


def kind_by_content(start: bytes) -> FileKind | None:
    """Tell by a file's first bytes what it is; None where it is a text that is no drawing."""
    if not start:
        return EMPTY
    if start[4:8] == b"ftyp":
        return _ISO_BRANDS.get(start[8:12], VIDEO)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return VIDEO
    if start[344:348] == b"ni1\0":
        return NIFTI
    if start[257:262] == b"ustar":
        return ARCHIVE
    matching = (kind for mark, kind in _BY_START if start.startswith(mark))
    if kind := next(matching, None):
        return kind
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return SVG if b"<svg" in start else HTML
    return None if is_text(start) else UNKNOWN


def is_text(start: bytes) -> bool:
    """Whether a file begins as a text does, in UTF-8 or in UTF-16 with its mark."""
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return True
    if b"\0" in start:
        return False
    try:
        # A character may be cut at the end
        start[:-4].decode()
    except UnicodeDecodeError:
        return False
    return True


def count_kinds(kinds: Iterable[FileKind]) -> dict[FileKind, int]:
    """Count how many files are of each kind, in the order in which the kinds are met."""
    counts: dict[FileKind, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
    return counts
