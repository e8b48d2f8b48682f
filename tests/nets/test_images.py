import pytest
import torch
from gymnasium import spaces

from rlrun.nets.images import Image, image_of, pixels


@pytest.mark.parametrize(
    ("shape", "layout", "image"),
    [
        ((4, 84, 80), "auto", Image(4, 84, 80, True)),
        ((84, 80, 4), "auto", Image(4, 84, 80, False)),
        ((10, 10, 10), "auto", Image(10, 10, 10, False)),
        ((7, 8, 20), "auto", Image(7, 8, 20, True)),
        ((7, 8, 20), "channels_last", Image(20, 7, 8, False)),
        ((20, 8, 7), "channels_first", Image(20, 8, 7, True)),
        ((84, 80), "auto", None),
        ((2, 84, 80, 4), "auto", None),
    ],
)
def test_the_smaller_outer_axis_holds_the_channels(shape, layout, image):
    assert image_of(spaces.Box(0, 1, shape), layout) == image
    assert image_of(spaces.MultiBinary(shape), layout) is None


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (0, 3)])
def test_pixels_come_as_channels_rows_and_columns(leading):
    last = torch.arange(24).view(3, 4, 2).expand(*leading, 3, 4, 2)
    found = pixels(last, Image(2, 3, 4, channels_first=False))
    assert found.shape == (torch.Size(leading).numel(), 2, 3, 4)
    assert found.dtype == torch.float32
    if len(found):
        assert found[-1, 1, 2].tolist() == [17.0, 19.0, 21.0, 23.0]
    first = last.movedim(-1, -3)
    assert torch.equal(pixels(first, Image(2, 3, 4, channels_first=True)), found)


def test_bytes_are_scaled_to_one_and_nothing_else_is():
    image, shown = Image(1, 1, 2, channels_first=True), torch.tensor([[[51, 255]]])
    assert pixels(shown.byte(), image).flatten().tolist() == pytest.approx([0.2, 1.0])
    assert pixels(shown.float(), image).flatten().tolist() == [51.0, 255.0]
    assert pixels(shown, image).flatten().tolist() == [51.0, 255.0]
    assert pixels(shown > 60, image).flatten().tolist() == [0.0, 1.0]
