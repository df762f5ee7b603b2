"""Programs of the checkout; their code is in qup/cli, and a wheel has none of them."""
