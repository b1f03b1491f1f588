"""The real-bogus network: an ensemble of small convolutional networks on normalised triplets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detection.networks.real_bogus_input import (
    FIELD,
    N_CHANNELS,
    is_usable,
    normalise,
    to_channels,
)

#: Members of the ensemble: each looks at two of the eight orientations, together at all of them.
N_MEMBERS = 4
#: Quarter turns; as many again with a reflection make the eight orientations.
N_TURNS = 4
#: Small enough for a processor's cache, which is worth a third of the time.
_BATCH = 64


class RealBogusNetwork(nn.Module):
    """One member: four convolutions, then mean, maximum and middle of the last map.

    Odd sizes and symmetric padding throughout keep the middle of the triplet in the middle of every
    map: 49, 25, 13, 13, 7 pixels.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 24, 32, 48)) -> None:
        super().__init__()
        inputs = (N_CHANNELS, *widths[:3])
        sizes, strides = (5, 3, 3, 3), (2, 2, 1, 2)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(n_in, n_out, size, stride, size // 2)
            for n_in, n_out, size, stride in zip(inputs, widths, sizes, strides, strict=True)
        )
        self.norms: nn.ModuleList | None = nn.ModuleList(nn.BatchNorm2d(n) for n in widths)
        self.hidden = nn.Linear(3 * widths[3], 48)
        self.dropout = nn.Dropout(0.25)
        self.logit = nn.Linear(48, 1)

    def forward(self, channels: Tensor) -> Tensor:
        """Logit of being real of channels (n, 6, 49, 49); shape (n,)."""
        maps = channels
        for i, convolution in enumerate(self.convolutions):
            maps = convolution(maps)
            if self.norms is not None:
                maps = self.norms[i](maps)
            maps = torch.relu_(maps)
        middle = maps.shape[-1] // 2
        pooled = [maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)), maps[:, :, middle, middle]]
        hidden = torch.relu(self.hidden(torch.cat(pooled, dim=1)))
        return cast(Tensor, self.logit(self.dropout(hidden)))[:, 0]

    def turned(self, view: int) -> RealBogusNetwork:
        """The network that sees a triplet as this one sees its orientation ``view``.

        Kernels are turned the other way instead of pictures: strides and padding are symmetric
        about the middle, and mean, maximum and middle of the last map do not depend on how it
        lies, so that the logit is the same, at an eighth of the copying.
        """
        network = self.fused()
        for layer in network.convolutions:
            convolution = cast(nn.Conv2d, layer)
            kernel = convolution.weight.detach()
            kernel = kernel.flip(3) if view >= N_TURNS else kernel
            kernel = torch.rot90(kernel, -(view % N_TURNS), dims=(2, 3))
            convolution.weight = nn.Parameter(kernel.contiguous())
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def fused(self) -> RealBogusNetwork:
        """The same function for scoring, each normalisation folded into its convolution."""
        widths = cast(
            tuple[int, int, int, int],
            tuple(cast(nn.Conv2d, layer).out_channels for layer in self.convolutions),
        )
        network = RealBogusNetwork(widths)
        network.load_state_dict(self.state_dict())
        network.eval()
        if network.norms is not None:
            network.convolutions = nn.ModuleList(
                fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm))
                for convolution, norm in zip(network.convolutions, network.norms, strict=True)
            )
            network.norms = None
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class Scores:
    """Scores of n triplets; NaN where a triplet shows nothing.

    Attributes
    ----------
    score : NDArray[float64], shape (n,)
        Probability of being real, calibrated on held-out groups, 0 to 1.
    score_error : NDArray[float64], shape (n,)
        Standard deviation of the members' probabilities.
    """

    score: NDArray[np.float64]
    score_error: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)


class RealBogusEnsemble:
    """Members, and the calibration that makes their mean logit a probability.

    Parameters
    ----------
    members : sequence of RealBogusNetwork
        Trained members.
    temperature, offset : float
        The probability is ``sigmoid((logit - offset) / temperature)``.
    device : str
        torch device.
    """

    def __init__(
        self,
        members: list[RealBogusNetwork],
        *,
        temperature: float = 1.0,
        offset: float = 0.0,
        device: str = "cpu",
    ) -> None:
        if not members:
            msg = "members: an ensemble needs at least one"
            raise ValueError(msg)
        if not temperature > 0:
            msg = f"temperature: must be positive, got {temperature}"
            raise ValueError(msg)
        self.members = [
            [member.turned(view).to(device) for view in _views_of(i, len(members))]
            for i, member in enumerate(members)
        ]
        self.temperature, self.offset, self.device = temperature, offset, device

    def score(self, triplets: NDArray[np.generic]) -> Scores:
        """Score triplets.

        Parameters
        ----------
        triplets : NDArray, shape (n, 63, 63, 3)
            Science, template, difference in any units; NaN where a pixel is missing.

        Returns
        -------
        Scores
            NaN where neither science nor difference has a pixel in its middle.

        Raises
        ------
        ValueError
            If the shape is another.
        """
        parts = [
            self._score_planes(
                normalise(self._tensor(triplets[first : first + _BATCH]), width=FIELD)
            )
            for first in range(0, len(triplets), _BATCH)
        ]
        if not parts:
            normalise(self._tensor(triplets))
            return Scores(np.zeros(0), np.zeros(0))
        return Scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def logits(self, planes: Tensor) -> Tensor:
        """Logits of each member (n_members, n) for normalised planes, uncalibrated."""
        with torch.inference_mode():
            channels = to_channels(planes.to(self.device))
            channels = channels.contiguous(memory_format=torch.channels_last)
            return torch.stack(
                [
                    torch.stack([network(channels) for network in views]).mean(dim=0)
                    for views in self.members
                ]
            )

    def _score_planes(self, planes: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        logits = self.logits(planes).double()
        probability = torch.sigmoid((logits - self.offset) / self.temperature)
        mean = torch.sigmoid((logits.mean(dim=0) - self.offset) / self.temperature)
        spread = probability.std(dim=0, correction=1 if len(self.members) > 1 else 0)
        known = is_usable(planes).to(mean.device)
        return tuple(  # type: ignore[return-value]
            torch.where(known, values, torch.nan).cpu().numpy() for values in (mean, spread)
        )

    def _tensor(self, triplets: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(triplets, dtype=np.float32)).to(self.device)


def score_in_order(
    ensemble: RealBogusEnsemble, batches: Iterable[NDArray[np.generic]], *, n_threads: int
) -> Iterator[Scores]:
    """Scores of successive batches, several at work at a time and no more of them in memory.

    One thread for each batch keeps every processor busy with large pieces; torch's own threads
    share each of thousands of small steps and wait for each other.
    """
    ahead: deque[Future[Scores]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for batch in batches:
            ahead.append(pool.submit(ensemble.score, batch))
            if len(ahead) > n_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, and no small step shared among processors that others want."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def orient(maps: Tensor, view: int) -> Tensor:
    """One of the eight orientations of square maps (n, c, ny, ny): a turn, then a reflection."""
    turned = torch.rot90(maps, view % N_TURNS, dims=(2, 3))
    return turned.flip(3) if view >= N_TURNS else turned


def _views_of(member: int, n_members: int) -> tuple[int, ...]:
    """Orientations that one member looks at: a turn and the reflection of the opposite one."""
    if n_members >= N_MEMBERS:
        return (member % N_TURNS, N_TURNS + (member + 2) % N_TURNS)
    return tuple(range(2 * N_TURNS))
