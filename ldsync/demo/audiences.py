"""The audiences of the demo, as Engage names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["AUDIENCES", "Audience"]

_SPACE = "spa_9vACn44CYGDZNPNWDUXtMJ"


@dataclass(frozen=True, slots=True)
class Audience:
    """One Engage audience or journey step, as `context.personas` names it."""

    key: str
    id: str
    computation_class: str = "audience"

    @property
    def personas(self) -> dict[str, Any]:
        """The `context.personas` object of this audience's events."""
        return {
            "computation_class": self.computation_class,
            "computation_id": self.id,
            "computation_key": self.key,
            "namespace": _SPACE,
            "space_id": _SPACE,
        }


def _audience(number: int, key: str) -> Audience:
    return Audience(key, f"aud_2zJkeVoLkrirhXup2uAPEsDL{number:03d}")


AUDIENCES = (
    *(
        _audience(number, key)
        for number, key in enumerate(
            (
                "first_time_shopper",
                "cart_abandoners",
                "newsletter_readers",
                "vip_customers",
                "trial_users",
                "beta_testers",
                "at_risk_of_churn",
                "mobile_only",
                "1st_order",
                "UPPER_case",
                "with-hyphen_and.dot",
                "double__underscore",
                "trailing_",
                "big_spenders_180_days",
                "support_contacted",
                "emea_customers",
            )
        )
    ),
    _audience(16, "j_o_first_purchase__opened_email_dje83h"),
    _audience(17, "j_o_winback__clicked_offer_k2p9xw"),
    Audience("winback__add_to_ld_8943l", "winback__add_to_ld_8943l", "journey_step"),
    Audience("onboarding__day_7_x81kq", "onboarding__day_7_x81kq", "journey_step"),
)
"""Twenty audiences, the largest first: ordinary ones, two v1 journeys (`j_o_`), two v2 steps.

Every key is a valid LaunchDarkly segment key as it stands, so segment key and audience key agree.
"""
