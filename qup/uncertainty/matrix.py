"""The relation along all directions at once, as matrices.

With Sigma = Cov(x), P = E[s s^T], P_c = Cov(s) and C = Cov(x, s), between unit vectors that are
the rows of U:

    C = -(U U^T - B) / 2,     Sigma - C P_c^-1 C^T >= 0,     J = 4 P,

and where psi vanishes at the boundary Sigma >= U U^T P^-1 U U^T / 4, the Cramér-Rao bound of the
location family of rho.
"""

import dataclasses

import numpy as np

from qup.core import errors
from qup.uncertainty.relation import Estimate, Relation, Sums, jackknife, sum_groups


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixForm:
    """Matrices between k directions, each an `Estimate` [k, k].

    Attributes:
      sigma: Covariance of x.
      momentum: P_c, the centred covariance of s.
      cross: C.
      boundary: B = U U^T + 2 C; 0 where psi vanishes at the boundary.
      fisher: J = 4 P.
      least: Smallest eigenvalue of Sigma - C P_c^-1 C^T; never negative on a sample.
      least_vanishing: Smallest eigenvalue of Sigma - U U^T P^-1 U U^T / 4; not negative where
        psi vanishes at the boundary.
    """

    sigma: Estimate
    momentum: Estimate
    cross: Estimate
    boundary: Estimate
    fisher: Estimate
    least: Estimate
    least_vanishing: Estimate


def compute_matrix_form(relation: Relation) -> MatrixForm:
    """Returns the matrix form between the directions of a relation.

    A direction without values is NaN in every matrix.

    Raises:
      InputError: The relation has no directions.
    """
    if "matrix_yy" not in relation.groups:
        raise errors.InputError(
            "The matrix form is between directions; the relation has none. Give two or more."
        )
    vectors = relation.axes.directions
    count = relation.groups["matrix_yy"].shape[-1]
    # Without directions quadrature sums matrices between the coordinates.
    gram = vectors @ vectors.T if len(vectors) else np.eye(count)

    def statistics(groups: Sums) -> dict[str, np.ndarray]:
        return _compute_matrices(groups, gram)

    if len(relation.groups["weight"]) > 1:
        matrices = jackknife(relation.groups, statistics)
        is_known = np.isfinite(relation["sigma_x"].value[-count:])
        return MatrixForm(
            **{name: _mask_unknown(estimate, is_known) for name, estimate in matrices.items()}
        )
    values = statistics(sum_groups(relation.groups))
    return MatrixForm(**{name: Estimate(value) for name, value in values.items()})


def _mask_unknown(estimate: Estimate, is_known: np.ndarray) -> Estimate:
    """Returns the estimate with NaN between directions of which one is unknown."""
    is_pair_known = is_known[:, None] & is_known if estimate.value.ndim else is_known.all()
    return Estimate(
        *(np.where(is_pair_known, array, np.nan) for array in (estimate.value, estimate.stderr))
    )


def _compute_matrices(groups: Sums, gram: np.ndarray) -> dict[str, np.ndarray]:
    count = gram.shape[0]
    weight = groups["weight"][..., None]
    y, s = (groups[name][..., -count:] / weight for name in "ys")
    yy, ss, ys = (groups[f"matrix_{name}"] / weight[..., None] for name in ("yy", "ss", "ys"))
    sigma = yy - y[..., :, None] * y[..., None, :]
    momentum = ss - s[..., :, None] * s[..., None, :]
    cross = ys - y[..., :, None] * s[..., None, :]
    inverse = np.linalg.pinv(momentum, hermitian=True)
    residual = sigma - cross @ inverse @ np.swapaxes(cross, -1, -2)
    bound = 0.25 * gram @ np.linalg.pinv(ss, hermitian=True) @ gram
    return {
        "sigma": sigma,
        "momentum": momentum,
        "cross": cross,
        "boundary": gram + 2.0 * cross,
        "fisher": 4.0 * ss,
        "least": np.linalg.eigvalsh(_symmetrize(residual))[..., 0],
        "least_vanishing": np.linalg.eigvalsh(_symmetrize(sigma - bound))[..., 0],
    }


def _symmetrize(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + np.swapaxes(matrix, -1, -2))
