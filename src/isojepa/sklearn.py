"""LeJEPA as a scikit-learn transformer: arrays of images, series or rows in, embeddings out.

    from isojepa.sklearn import LeJEPA
    Z = LeJEPA(random_state=0).fit_transform(X)

Rows (n, d) may have missing values and categorical columns; series are (n, t, c) and images
(n, h, w, c). PyTorch is imported when something is fitted.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, no_type_check

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from isojepa.encoders.in_memory import Fitted
    from isojepa.encoders.modalities.modality import Source

__all__ = ["LeJEPA", "SIGRegScore"]
KINDS = {2: "tables", 3: "series", 4: "images"}
"""By the number of axes."""
LEAST, MOST, PASSES = 60, 600, 60
"""Updates by default: so many passes over the data, within these bounds."""


class LeJEPA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn an isotropic Gaussian embedding without labels, by LeJEPA.

    Args:
        model: of images, any name of timm's; of series, conv_nano, conv_small, conv_base or
            patch_small; of tables, mlp_small or mlp_base. None: by the data.
        recipe: what varies between views: photo, small, glyph for images; series; table; masked
            (nothing but missing parts); none. None: by the data.
        steps: updates. None: 60 passes over the data, within 60 to 600 updates.
        batch_size: samples per update, or all of them where there are fewer.
        lambd: weight of SIGReg in [0, 1], good from 0.01 to 0.1; "auto" finds it in `fit`.
        learning_rate: at its peak. None: by the network.
        views: of each sample. None: 4.
        length: of series, time steps of a view. None: the median length, at most 512.
        projection_dim: dimensions in which SIGReg acts.
        slices: of SIGReg, per update.
        device: auto (a GPU if there is one), cpu, cuda or mps.
        verbose: show a bar.
        random_state: an integer repeats a fit exactly, on one kind of machine.

    Attributes:
        n_features_in_: columns of a table, channels of series and of images.
        feature_names_in_: of a table with names.
        encoder_: the trained module, on the CPU, in eval mode.
        lambd_: weight of SIGReg at the end of training.

    Raises:
        ValueError: for arrays of other shapes, too few samples or settings that do not exist.
    """

    model: str | None
    recipe: str | None
    steps: int | None
    batch_size: int
    lambd: float | Literal["auto"]
    learning_rate: float | None
    views: int | None
    length: int | None
    projection_dim: int
    slices: int
    device: str
    verbose: bool
    random_state: Any

    @no_type_check  # scikit-learn wants settings looked at in fit, never here
    def __init__(  # noqa: PLR0913
        self,
        *,
        model: str | None = None,
        recipe: str | None = None,
        steps: int | None = None,
        batch_size: int = 256,
        lambd: float | Literal["auto"] = 0.05,
        learning_rate: float | None = None,
        views: int | None = None,
        length: int | None = None,
        projection_dim: int = 32,
        slices: int = 256,
        device: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.steps = steps
        self.batch_size = batch_size
        self.lambd = lambd
        self.learning_rate = learning_rate
        self.views = views
        self.length = length
        self.projection_dim = projection_dim
        self.slices = slices
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> LeJEPA:
        """Train on all samples of X; y is ignored."""
        del y
        source = self._source(X, reset=True)
        self._train(source)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embeddings (n, d), float32."""
        check_is_fitted(self)
        source = self._source(X, reset=False)
        from isojepa.encoders.in_memory import embed_source

        return np.asarray(_plain_errors(embed_source, self._fitted, source).numpy())

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit`, then `transform` of the same."""
        del y
        return self.fit(X).transform(X)

    @property
    def encoder_(self) -> Any:
        """The trained module; AttributeError before `fit`."""
        return self._fitted.jepa.encoder

    @property
    def lambd_(self) -> float:
        """Weight of SIGReg at the end of training; AttributeError before `fit`."""
        return self._fitted.lambd

    @property
    def _n_features_out(self) -> int:
        return self._fitted.dimensions

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = self.random_state is None
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Weights become bytes of safetensors: nothing of PyTorch is pickled."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "_fitted" in state:
            from isojepa.encoders.in_memory import as_state

            state["_fitted"] = as_state(state["_fitted"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = state.pop("_fitted", None)
        super().__setstate__(state)
        if stored is not None:
            from isojepa.encoders.in_memory import from_state

            self._fitted: Fitted = from_state(stored)

    def _source(self, X: Any, *, reset: bool) -> Source:
        """X checked, and as a modality's source."""
        least = 2 if reset else 1
        axes = X.ndim if hasattr(X, "ndim") else np.asarray(X, object).ndim
        if axes > 2:
            checked = _checked(X, least)
        else:
            checked = validate_data(
                self,
                X,
                reset=reset,
                dtype=None,
                ensure_all_finite="allow-nan",
                ensure_min_samples=least,
            )
        kind = KINDS.get(checked.ndim)
        if kind is None:
            raise ValueError(f"Found array with dim {checked.ndim}, while dim 2, 3 or 4 is wanted")
        if reset:
            self._kind = kind
            if kind != "tables":
                self.n_features_in_ = checked.shape[-1]
        elif kind != self._kind or checked.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"X has {checked.shape[-1]} features and {checked.ndim} axes, but LeJEPA is "
                f"expecting {self.n_features_in_} features of {self._kind} as input"
            )
        from isojepa.encoders.modalities import arrays

        if kind == "tables":
            return arrays.table(checked, X)
        if kind == "series":
            return arrays.series(checked)
        if reset:
            self._white = arrays.white_of(checked)
        return arrays.images(checked, self._white)

    def _train(self, source: Source) -> None:
        from isojepa.encoders.in_memory import fit, memory_config
        from isojepa.encoders.modalities.registry import modality

        n = len(source.listing.names)
        batch = min(self.batch_size, n)
        steps = self.steps or min(MOST, max(LEAST, PASSES * (n // batch)))
        config = _plain_errors(
            memory_config,
            model=self.model,
            recipe=self.recipe,
            batch_size=batch,
            lambd=self.lambd,
            lr=self.learning_rate,
            global_views=self.views,
            length=self.length,
            projection_dim=self.projection_dim,
            slices=self.slices,
            device=self.device,
            seed=_seed(self.random_state),
        )
        kind = modality(self._kind)
        self._fitted = _plain_errors(
            fit, source, kind, config, steps=steps, progress=bool(self.verbose)
        )


class SIGRegScore:
    """A scorer without labels, for model selection: larger is better.

        GridSearchCV(LeJEPA(), {"lambd": [0.01, 0.05, 0.2]}, scoring=SIGRegScore())

    Of a `LeJEPA`, minus its loss on the held-out samples over lambd ** alpha: the criterion by
    which LeJEPA's paper compares runs of different lambda. Of any other transformer, minus SIGReg
    over all directions of its output, each column standardised by the sample itself; that takes up
    some of what is expected of Gaussian features (1.06), so that values of 0.3 are usual.

    Args:
        alpha: exponent of lambda.
        repeats: draws of views.
    """

    def __init__(self, alpha: float = 0.4, repeats: int = 4) -> None:
        self.alpha, self.repeats = alpha, repeats

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """The score of a fitted transformer, or pipeline that ends in one, on X."""
        del y
        last, before = estimator, X
        if isinstance(estimator, Pipeline):
            last = estimator[-1]
            before = estimator[:-1].transform(X) if len(estimator) > 1 else X
        if not isinstance(last, LeJEPA):
            return self._of_output(estimator.transform(X))
        from isojepa.encoders.in_memory import loss_on

        source = last._source(before, reset=False)
        loss: float = loss_on(last._fitted, source, repeats=self.repeats)
        return -loss / last.lambd_**self.alpha if last.lambd_ else -loss

    def _of_output(self, z: Any) -> float:
        import torch

        from isojepa.objective.exact import exact_sigreg

        x = torch.as_tensor(np.asarray(z, np.float64))
        x = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
        return -float(exact_sigreg(x))


def _checked(X: Any, least: int) -> np.ndarray:
    """An array of series or images."""
    x = np.asarray(X)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"series and images are arrays of numbers, not of {x.dtype}")
    if len(x) < least or not x.size:
        raise ValueError(
            f"Found array with {len(x)} sample(s) while a minimum of {least} is needed"
        )
    if x.dtype.kind == "f" and np.isinf(x).any():
        raise ValueError("Input X contains infinity or a value too large")
    return x


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _plain_errors(function: Any, *args: Any, **settings: Any) -> Any:
    """What the function returns; a mistake of the caller's is a ValueError."""
    from isojepa.errors import UserError

    try:
        return function(*args, **settings)
    except UserError as error:
        raise ValueError(str(error)) from error
