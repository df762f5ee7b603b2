"""One colour a network, in every figure; safe for the colour-blind.

Okabe and Ito 2008, "Color Universal Design".
"""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#6E6E6E"
_NETWORK_COLOURS = {"convnet": BLUE, "resnet": VERMILION, "ygcnn": GREEN, "googlenet": PURPLE}


def get_network_colour(model: str) -> str:
    """Returns the colour of an architecture."""
    return _NETWORK_COLOURS.get(model, BLACK)
