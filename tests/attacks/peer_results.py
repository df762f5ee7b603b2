"""Stores what other libraries find on a small network, in data/peers.npz, for parity_test.py.

It runs with PyTorch and those libraries, without TensorFlow:

    pip install torch foolbox==3.3.4 torchattacks==3.5.1 pyautoattack==0.2.0
    python tests/attacks/peer_results.py IMAGES.npz

`IMAGES.npz` holds "images", uint8 [count, 28, 28, 1], and "indices" of test images of `digits` with
their "labels", and the weights "weight_00" to "weight_09", float16, of a ConvNet of half the width
that classifies all of them correctly. pyautoattack is the authors' AutoAttack as a package.
"""

import importlib.metadata
import pathlib
import sys
import time

import numpy as np

EPSILON = {"linf": 0.1, "l2": 1.0, "l1": 10.0}
LIBRARIES = ("foolbox", "torchattacks", "pyautoattack", "torch")


def _build_network(weights):
    """Returns the ConvNet of qup with these weights, in the layout of PyTorch."""
    import torch
    from torch.nn import functional

    tensors = [torch.tensor(np.float32(w)) for w in weights]
    kernels = [w.permute(3, 2, 0, 1).contiguous() for w in tensors[0:4:2]]

    class ConvNet(torch.nn.Module):
        def forward(self, x):
            for kernel, bias, padding in zip(kernels, tensors[1:4:2], (2, 0), strict=True):
                x = functional.relu(functional.conv2d(x, kernel, bias, padding=padding))
                x = functional.max_pool2d(x, 2)
            x = x.permute(0, 2, 3, 1).flatten(1)
            for matrix, bias in zip(tensors[4:8:2], tensors[5:8:2], strict=True):
                x = functional.relu(x @ matrix + bias)
            return x @ tensors[8] + tensors[9]

    return ConvNet().eval()


def _list_foolbox_attacks(network, images, labels):
    """Yields (name of qup's attack, norm, library's attack) with the attack as a function."""
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    library = foolbox.attacks
    for name, norm, attack in (
        ("fgsm", "linf", library.FGSM()),
        ("fgsm", "l2", library.L2FastGradientAttack()),
        ("fgsm", "l1", library.L1FastGradientAttack()),
        ("pgd", "linf", library.LinfPGD(steps=40, rel_stepsize=2.5 / 40)),
        ("pgd", "l2", library.L2PGD(steps=40, rel_stepsize=2.5 / 40)),
        ("pgd", "l1", library.SparseL1DescentAttack(steps=40, rel_stepsize=2.5 / 40)),
        ("pgd_l1_full_gradient", "l1", library.L1PGD()),
        (
            "basic_iterative",
            "linf",
            library.LinfBasicIterativeAttack(steps=26, abs_stepsize=1 / 255),
        ),
    ):
        yield name, norm, lambda a=attack, n=norm: a(model, images, labels, epsilons=EPSILON[n])[1]
    for norm, attack in (
        ("l2", library.L2DeepFoolAttack()),
        ("linf", library.LinfDeepFoolAttack()),
    ):
        yield "deepfool", norm, lambda a=attack: a(model, images, labels, epsilons=None)[1]


def _list_torchattacks(network, images, labels):
    import torchattacks

    epsilon = EPSILON["linf"]
    for name, norm, attack in (
        ("pgd", "linf", torchattacks.PGD(network, epsilon, 2.5 * epsilon / 40, 40)),
        ("pgd", "l2", torchattacks.PGDL2(network, EPSILON["l2"], 2.5 * EPSILON["l2"] / 40, 40)),
        ("momentum", "linf", torchattacks.MIFGSM(network, epsilon, epsilon / 10, 10)),
        ("spsa", "linf", torchattacks.SPSA(network, eps=epsilon, nb_iter=20, nb_sample=128)),
        ("apgd_ce", "linf", torchattacks.APGD(network, eps=epsilon, steps=100)),
        ("sparsefool", "l0", torchattacks.SparseFool(network, steps=20, lam=3)),
        ("jsma", "l0", torchattacks.JSMA(network, theta=1.0, gamma=0.145)),
    ):
        yield name, norm, lambda a=attack: a(images, labels)


def _list_autoattack(network, images, labels):
    import pyautoattack

    for norm, their_norm, part, name in (
        ("linf", "Linf", "apgd-ce", "apgd_ce"),
        ("linf", "Linf", "apgd-dlr", "apgd_dlr"),
        ("linf", "Linf", "apgd-t", "apgd_t"),
        ("linf", "Linf", "square", "square"),
        ("l2", "L2", "fab-t", "fab_t"),
        ("l1", "L1", "apgd-ce", "apgd_ce"),
    ):

        def run(part=part, norm=norm, their_norm=their_norm):
            attack = pyautoattack.AutoAttack(
                network,
                attacks=[part],
                eps=EPSILON[norm],
                norm=their_norm,
                seed=0,
                version="custom",
            )
            return attack.run_standard_evaluation(images, labels, batch_size=len(labels))[0]

        yield name, norm, run


def _measure(network, clean, perturbed, labels, norm):
    """Returns the distances where misclassified, infinity elsewhere: float32 [count]."""
    import torch

    with torch.no_grad():
        is_broken = (network(perturbed).argmax(1) != labels).numpy()
    delta = np.abs((perturbed - clean).numpy().reshape(len(labels), -1).astype(np.float64))
    distances = {
        "linf": delta.max(1),
        "l2": np.sqrt((delta**2).sum(1)),
        "l1": delta.sum(1),
        "l0": (delta > 1e-6).sum(1),
    }[norm]
    return np.where(is_broken, distances, np.inf).astype(np.float32)


def main(path):
    """Runs all attacks and writes data/peers.npz."""
    import torch

    torch.set_num_threads(1)
    given = np.load(path)
    weights = [given[f"weight_{i:02d}"] for i in range(10)]
    network = _build_network(weights)
    clean = torch.tensor(given["images"].transpose(0, 3, 1, 2).astype(np.float32) / 255)
    labels = torch.tensor(given["labels"].astype(np.int64))
    stored = {key: given[key] for key in given.files if key != "images"}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    stored["versions"] = np.array(", ".join(versions))
    for library, listing in (
        ("foolbox", _list_foolbox_attacks),
        ("torchattacks", _list_torchattacks),
        ("pyautoattack", _list_autoattack),
    ):
        for name, norm, run in listing(network, clean, labels):
            torch.manual_seed(0)
            np.random.seed(0)
            start = time.time()
            try:
                perturbed = run().detach().clamp(0, 1)
            except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
                print(library, name, norm, "does not run:", error)
                continue
            distances = _measure(network, clean, perturbed, labels, norm)
            stored[f"{library}/{name}/{norm}"] = distances
            is_broken = np.isfinite(distances)
            median = np.median(distances)
            print(
                library,
                name,
                norm,
                is_broken.sum(),
                median,
                round(time.time() - start, 1),
                flush=True,
            )
    np.savez_compressed(pathlib.Path(__file__).parent / "data" / "peers.npz", **stored)


if __name__ == "__main__":
    main(sys.argv[1])
