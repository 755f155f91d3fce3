"""Images as the data layer decodes, cuts, resizes and colours them, beside PIL's and torchvision's: to the byte.

Usage: images_test.py SYNCBN IMAGE_PIXELS
"""
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import test_report  # noqa: E402

try:
    import numpy
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import functional
except ImportError as error:
    test_report.skip(f"{error}; install what launch/packages-test.txt lists")

PROGRAM = sys.argv[2]


class Pixels:
    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        if line.startswith("error: "):
            raise RuntimeError(line)
        height, width = map(int, line.split())
        data = self.process.stdout.read(3 * height * width)
        return numpy.frombuffer(data, numpy.uint8).reshape(height, width, 3)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def picture(height, width, seed):
    """Smooth with edges and noise, as photographs are."""
    random_state = numpy.random.RandomState(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    planes = []
    for channel in range(3):
        a, b, c = random_state.uniform(0.01, 0.2, 3)
        plane = 120 + 80 * numpy.sin(a * x + b * y) + 40 * ((x * c).astype(int) % 2)
        planes.append(plane + random_state.normal(0, 6, plane.shape))
    return Image.fromarray(numpy.clip(numpy.stack(planes, -1), 0, 255).astype(numpy.uint8))


def array(image):
    return numpy.asarray(image.convert("RGB"))


def png(samples, kind, depth=8, chunks=(), interlaced=False):
    """A PNG as PIL cannot write it: samples [height, width, channels] of so many bits, of a kind of IHDR's."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def rows(part):
        for row in part:
            if depth == 16:
                yield row.astype(">u2").tobytes()
            elif depth == 8:
                yield row.astype(numpy.uint8).tobytes()
            else:
                bits = (row.reshape(-1, 1) >> numpy.arange(depth - 1, -1, -1)) & 1
                yield numpy.packbits(bits.astype(numpy.uint8)).tobytes()

    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in steps] if interlaced else [samples]
    data = b"".join(b"\0" + row for part in parts if part.size for row in rows(part))
    height, width = samples.shape[:2]
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))) +
            b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


class ImagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pixels = Pixels()
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.pixels.close()
        cls.folder.cleanup()

    def save(self, image, name, **options):
        path = os.path.join(self.folder.name, name)
        image.save(path, **options)
        return path

    def same(self, ours, theirs, label):
        self.assertEqual(ours.shape, theirs.shape, label)
        difference = numpy.abs(ours.astype(int) - theirs.astype(int))
        self.assertEqual(difference.max(), 0, f"{label}: {(difference != 0).sum()} bytes differ")

    def jpegs(self):
        for name, options in {
                "444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2},
                "progressive": {"progressive": True, "subsampling": 2}}.items():
            yield name, self.save(picture(183, 251, 1), f"{name}.jpg", quality=88, **options)
        yield "grey", self.save(picture(97, 120, 2).convert("L"), "grey.jpg")
        yield "cmyk", self.save(picture(80, 61, 3).convert("CMYK"), "cmyk.jpg")

    def test_whole_images_are_pils(self):
        image = picture(60, 83, 4)
        paths = dict(self.jpegs())
        paths["png"] = self.save(image, "rgb.png")
        paths["palette"] = self.save(image.quantize(60), "palette.png")
        paths["grey png"] = self.save(image.convert("L"), "grey.png")
        paths["webp"] = self.save(image, "lossy.webp", quality=80)
        paths["lossless"] = self.save(image, "lossless.webp", lossless=True)
        for label, path in paths.items():
            self.same(self.pixels("whole", path), array(Image.open(path)), label)

    def write(self, data, name):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def test_every_kind_of_png_is_pils(self):
        draw = numpy.random.RandomState(14)
        gamma = [(b"gAMA", struct.pack(">I", 100000))]
        palette = [(b"PLTE", bytes(draw.randint(0, 256, 48).astype(numpy.uint8)))]
        kinds = {"grey": (0, 1, (1, 2, 4, 8)), "colours": (2, 3, (8, 16)), "palette": (3, 1, (4, 8)),
                 "grey, alpha": (4, 2, (8, 16)), "colours, alpha": (6, 4, (8, 16))}
        for name, (kind, channels, depths) in kinds.items():
            for depth in depths:
                for interlaced in (False, True):
                    most = 16 if kind == 3 else 2 ** depth
                    samples = draw.randint(0, most, (21, 34, channels))
                    path = self.write(png(samples, kind, depth, gamma + (palette if kind == 3 else []), interlaced),
                                      "kind.png")
                    label = f"{name} of {depth} bits{', interlaced' if interlaced else ''}"
                    self.same(self.pixels("whole", path), array(Image.open(path)), label)

    def test_what_is_transparent_keeps_its_colours_as_pils(self):
        draw = numpy.random.RandomState(15)
        palette = (b"PLTE", bytes(range(48)))
        for label, kind, channels, most, transparent in (
                ("grey", 0, 1, 256, struct.pack(">H", 7)), ("colours", 2, 3, 2, struct.pack(">3H", 1, 0, 1)),
                ("palette", 3, 1, 16, bytes(range(0, 160, 10)))):
            samples = draw.randint(0, most, (30, 20, channels))
            chunks = ([palette] if kind == 3 else []) + [(b"tRNS", transparent)]
            path = self.write(png(samples, kind, chunks=chunks), "transparent.png")
            self.same(self.pixels("whole", path), array(Image.open(path)), label)
        image = picture(40, 40, 5)
        image.putalpha(Image.fromarray((numpy.indices((40, 40)).sum(0) // 20 * 85).astype(numpy.uint8)))
        path = self.save(image, "alpha.webp", lossless=True, exact=True)
        self.same(self.pixels("whole", path), array(Image.open(path)), "WebP")
        path = self.save(image, "lossy.webp", quality=70)
        self.same(self.pixels("whole", path), array(Image.open(path)), "lossy WebP")

    # PIL makes white of all greys above 255.
    def test_of_greys_of_sixteen_bits_the_upper_eight_are_taken(self):
        values = (numpy.arange(64 * 64).reshape(64, 64, 1) * 16).astype(numpy.uint16)
        path = self.write(png(values, 0, 16), "deep.png")
        self.same(self.pixels("whole", path), numpy.repeat(values >> 8, 3, 2), "16 bits")

    def test_odd_jpegs_that_pil_takes_are_taken(self):
        with open(self.save(picture(50, 70, 16), "plain.jpg"), "rb") as file:
            plain = file.read()
        frame = plain.index(b"\xff\xda")
        for label, data in {
                "a later JFIF": plain.replace(b"JFIF\0\1", b"JFIF\0\7", 1),
                "an unknown transform of Adobe": plain[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09" + plain[2:],
                "bytes too many": plain[:frame] + bytes(9) + plain[frame:]}.items():
            path = self.write(data, "odd.jpg")
            self.same(self.pixels("whole", path), array(Image.open(path)), label)
        for cut in (len(plain) // 2, len(plain) - 40, len(plain) - 2):
            path = self.write(plain[:cut], "cut.jpg")
            with self.assertRaisesRegex(RuntimeError, "is damaged"):
                self.pixels("whole", path)
            with self.assertRaises(OSError), Image.open(path) as image:
                image.load()

    def test_what_pil_takes_for_a_bomb_is_refused(self):
        path = self.write(png(numpy.zeros((4, 4, 1)), 0).replace(
            struct.pack(">II", 4, 4), struct.pack(">II", 17000, 17000)), "bomb.png")
        with open(path, "rb+") as file:
            data = file.read()
            file.seek(29)
            file.write(struct.pack(">I", zlib.crc32(data[12:29])))
        with self.assertRaisesRegex(RuntimeError, "decompression bomb"):
            self.pixels("whole", path)
        with self.assertRaises(Image.DecompressionBombError):
            Image.open(path)

    def test_an_animation_is_refused(self):
        frames = [picture(20, 20, seed) for seed in (1, 2)]
        path = self.save(frames[0], "moving.webp", save_all=True, append_images=frames[1:])
        with self.assertRaisesRegex(RuntimeError, "is an animation"):
            self.pixels("whole", path)

    def test_the_orientation_of_a_camera_is_not_looked_at(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = self.save(picture(30, 50, 6), "turned.jpg", exif=exif)
        self.same(self.pixels("whole", path), array(Image.open(path)), "turned")

    def test_parts_that_are_resized_are_crops_that_pil_resizes(self):
        draw = random.Random(7)
        for label, path in self.jpegs():
            whole = Image.open(path).convert("RGB")
            for _ in range(60):
                height, width = draw.randint(1, whole.height), draw.randint(1, whole.width)
                top, left = draw.randint(0, whole.height - height), draw.randint(0, whole.width - width)
                # So large that no smaller version of the JPEG is taken.
                to = height // 2 + 1 + draw.randint(0, 60), width // 2 + 1 + draw.randint(0, 60)
                part = whole.crop((left, top, left + width, top + height))
                self.same(self.pixels("region", path, top, left, height, width, *to),
                          array(part.resize(to[::-1], Image.BILINEAR)),
                          f"{label} {(top, left, height, width)} to {to}")

    def test_resizing_is_pils_for_all_sizes(self):
        draw = random.Random(8)
        for _ in range(60):
            image = picture(draw.randint(1, 90), draw.randint(1, 90), 9)
            path = self.save(image, "any.png")
            to = draw.randint(1, 120), draw.randint(1, 120)
            self.same(self.pixels("region", path, 0, 0, image.height, image.width, *to),
                      array(image.resize(to[::-1], Image.BILINEAR)), f"{image.size} to {to}")

    def test_a_smaller_version_of_a_jpeg_is_near_the_whole_one(self):
        path = self.save(picture(900, 1200, 10), "large.jpg", quality=92)
        whole = Image.open(path).convert("RGB")
        for to in (300, 112, 60, 30):
            ours = self.pixels("region", path, 100, 37, 700, 1001, to, to)
            theirs = array(whole.crop((37, 100, 1038, 800)).resize((to, to), Image.BILINEAR))
            # The mean of 2 x 2 pixels, and then under a triangle: a little smoother.
            difference = numpy.abs(ours.astype(int) - theirs.astype(int))
            self.assertLess(difference.mean(), 1.0, to)

    def test_the_middle_is_torchvisions(self):
        draw = random.Random(11)
        for _ in range(40):
            image = picture(draw.randint(20, 140), draw.randint(20, 140), 12)
            path = self.save(image, "middle.png")
            side = draw.randint(8, 64)
            shorter = draw.randint(side, 80)
            theirs = transforms.CenterCrop(side)(transforms.Resize(shorter)(image))
            self.same(self.pixels("middle", path, shorter, side), array(theirs),
                      f"{image.size}, {shorter}, {side}")

    def test_colours_change_as_torchvision_changes_them(self):
        image = picture(120, 130, 13)
        # The whole cube of colours too, in every third step.
        cube = numpy.stack(numpy.meshgrid(*3 * [range(0, 256, 3)]), -1).reshape(86, 7396, 3)
        for image in (image, Image.fromarray(cube.astype(numpy.uint8))):
            path = self.save(image, "colours.png")
            for kind, change in enumerate((functional.adjust_brightness, functional.adjust_contrast,
                                           functional.adjust_saturation, functional.adjust_hue)):
                factors = (0, 0.3, 0.77, 1, 1.4, 2.5) if kind < 3 else (-0.5, -0.13, 0, 0.1, 0.37, 0.5)
                for factor in factors:
                    self.same(self.pixels("color", path, kind, factor), array(change(image, factor)),
                              f"{change.__name__} {factor}")


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    wrong = len(result.failures) + len(result.errors)
    test_report.end(result.testsRun - wrong, wrong)
