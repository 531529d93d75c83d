"""Up-sampling, FIR filtering and down-sampling of feature maps in one call, with the filter taps 1, 3, 3, 1.

Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020, resample with this filter throughout
(after Zhang, *Making Convolutional Networks Shift-Invariant Again*, ICML 2019). `resample` is the fast form: one
depthwise convolution. `resample_plain` is its plain twin: the definition, step by step. Both can be differentiated
twice, as R1 and R2 need.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (0.125, 0.375, 0.375, 0.125)     # along one axis; they sum to 1


def resample(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 1.0) -> Tensor:
    """Insert zeros, pad, filter and subsample, along both axes of every channel.

    x: (N, C, H, W). up: 1, or 2 to insert a zero after each value. pad: zeros before and after, on both axes; from 0.
    down: every down-th value is kept, the first included. gain: multiplies the result; up ** 2 keeps the brightness.
    Returns (N, C, H', W') in x's type and memory format, where H' = (H * up + sum(pad) - 3) / down, rounded up.
    """
    if x.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):                           # in bfloat16 it is 30 times slower there
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return _resample(wide, up, down, pad, gain).to(x.dtype)
    return _resample(x, up, down, pad, gain)


def _resample(x: Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> Tensor:
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)    # the same for every channel
    if up == 1:
        both, after = min(pad), max(pad[1] - pad[0], 0)
        if pad[0] != pad[1]:
            before = max(pad[0] - pad[1], 0)
            x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, kernel, stride=down, padding=both, groups=x.shape[1])
    before, after = (max(pad[0] - 2, 0) // 2, max(pad[1] - 1, 0) // 2)       # whole values; the rest is a crop
    x = F.pad(x, (before, after, before, after)) if before or after else x
    first, last = 3 - pad[0] + 2 * before, 2 - pad[1] + 2 * after            # values to crop at either end
    if first == last:
        whole = F.conv_transpose2d(x, kernel, stride=2, padding=first, groups=x.shape[1])
    else:
        whole = F.conv_transpose2d(x, kernel, stride=2, groups=x.shape[1])
        height, width = whole.shape[2:]
        whole = whole[:, :, first:height - last, first:width - last]
    return whole if down == 1 else whole[:, :, ::down, ::down]


def resample_plain(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0),
                   gain: float = 1.0) -> Tensor:
    """The plain twin of `resample`: a loop over the 16 taps of the two-dimensional filter."""
    n, channels, height, width = x.shape
    spread = x.new_zeros(n, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = x
    spread = F.pad(spread, (*pad, *pad))
    height, width = (size - 3 for size in spread.shape[2:])
    total = x.new_zeros(n, channels, height, width)
    for i in range(4):
        for j in range(4):
            total = total + gain * TAPS[i] * TAPS[j] * spread[:, :, i:i + height, j:j + width]
    return total[:, :, ::down, ::down]
