"""Linear nets learn mode by mode, on curves known in closed form (Saxe, McClelland & Ganguli 2013)."""

from __future__ import annotations

import numpy as np

from initbench.errors import refusal


def mode_curve(t: np.ndarray, s: float, u0: float, tau: float = 1.0, matrices: int = 2) -> np.ndarray:
    """Strength u(t) of one mode: tau u' = N u^(2 - 2/N) (s - u), u(0) = u0.

    s is the mode's strength in the data, N the number of matrices, tau = 1 / learning rate if t counts steps of
    gradient descent on sum of squares / 2 with whitened inputs. N = 2 in closed form:
    u = s e^(2st/tau) / (e^(2st/tau) - 1 + s/u0).
    Holds for balanced, decoupled starts and small steps. Source: Saxe et al. 2013, eq. 11-15.

    >>> mode_curve(np.array([0.0, 1e3]), s=3.0, u0=0.01).round(6).tolist()
    [0.01, 3.0]
    """
    if not (s > 0 and u0 > 0 and matrices >= 1):
        raise refusal(
            f"mode_curve: s={s}, u0={u0}, matrices={matrices}",
            "not allowed",
            "s and u0 must be above 0, matrices 1 or more",
        )
    t = np.asarray(t, dtype=float)
    if matrices == 2:
        fall = np.exp(-2 * s * t / tau)  # the same curve, written so that nothing overflows
        return s / (1 + (s / u0 - 1) * fall)

    from scipy.integrate import solve_ivp  # late: it is slow to import

    def speed(_: float, u: np.ndarray) -> np.ndarray:
        return matrices * u ** (2 - 2 / matrices) * (s - u) / tau

    order = np.argsort(t)
    end = float(t.max()) if t.size else 0.0
    if end <= 0:
        return np.full_like(t, u0)
    solved = solve_ivp(speed, (0.0, end), [u0], t_eval=np.unique(t[order]), method="LSODA", rtol=1e-10, atol=1e-12)
    return np.interp(t, solved.t, solved.y[0])


def learning_time(s: float, u0: float, share: float = 0.5, tau: float = 1.0) -> float:
    """Time for a mode to rise from u0 to share x s, two matrices: tau/(2s) ln(share (s - u0) / (u0 (1 - share))).

    Source: Saxe et al. 2013.

    >>> t = learning_time(2.0, 0.01, share=0.5)
    >>> round(float(mode_curve(np.array([t]), 2.0, 0.01)[0]), 12)
    1.0
    """
    return tau / (2 * s) * float(np.log(share * (s - u0) / (u0 * (1 - share))))
