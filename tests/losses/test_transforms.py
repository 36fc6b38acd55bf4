"""Other uses of a network than training: second derivatives, torch.func, traces, exports, and
graphs of torch.fx.
"""

import io
from itertools import product

import pytest
import torch
from torch import func, fx, nn

import losses
from losses import LOSSES
from tests.heads import B, C, D, batch, build

EACH = pytest.mark.parametrize("name", LOSSES)
SCALARS = {
    "label logits": lambda logits, targets: logits.gather(1, targets[:, None]).sum(),
    "sum": lambda logits, targets: logits.sum(),
    "cross-entropy": nn.functional.cross_entropy,
}


def tensors_of(name, training=True):
    """Return a head, features and targets in float64, and all tensors that need gradients."""
    head, _ = build(name)
    features, targets = batch()
    head.train(training)
    return head, features.requires_grad_(), targets, [features, *head.parameters()]


@EACH
@pytest.mark.parametrize("training", [True, False])
def test_every_gradient_can_be_differentiated(name, training):
    head, _, _, tensors = tensors_of(name, training)

    def logits(features, *_):
        torch.manual_seed(0)  # for the dropout
        return head(features)

    assert torch.autograd.gradgradcheck(logits, tensors, fast_mode=True)


@EACH
@pytest.mark.parametrize("scalar", SCALARS)
def test_a_gradient_penalty_has_the_right_gradient(name, scalar):
    """If the scalar is linear in the logits, only the head itself has second derivatives."""
    head, _, targets, tensors = tensors_of(name)

    def penalty(features, *_):
        torch.manual_seed(0)
        value = SCALARS[scalar](head(features), targets)
        (gradient,) = torch.autograd.grad(value, features, create_graph=True)
        return gradient.square().sum()

    assert torch.autograd.gradcheck(penalty, tensors, fast_mode=True)


@EACH
def test_the_gradient_is_the_same_with_and_without_create_graph(name):
    head, features, targets, tensors = tensors_of(name)
    with torch.no_grad():
        features[1] = 0  # a vector without a direction
        if hasattr(head, "prototypes"):
            features[2] = head.prototypes[0]  # a distance of 0
    gradients = []
    for graph in (False, True):
        torch.manual_seed(0)
        value = nn.functional.cross_entropy(head(features), targets)
        gradients.append(torch.autograd.grad(value, tensors, create_graph=graph, allow_unused=True))
    torch.testing.assert_close(*gradients)
    penalty = sum(gradient.square().sum() for gradient in gradients[1] if gradient is not None)
    for second in torch.autograd.grad(penalty, tensors, allow_unused=True):
        assert second is None or second.isfinite().all()


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax_nofpr"])
def test_frozen_prototypes_get_no_second_derivatives(name):
    head, features, _, _ = tensors_of(name)
    head.prototypes.requires_grad_(False)
    (gradient,) = torch.autograd.grad(head(features).sum(), features, create_graph=True)
    gradient.square().sum().backward()
    assert features.grad.isfinite().all()
    assert head.prototypes.grad is None


@EACH
def test_torch_func_works_with_every_head_in_evaluation_mode(name):
    head, features, targets, _ = tensors_of(name, training=False)
    weights = {key: value.detach() for key, value in head.named_parameters()}

    def loss(weights, features, target):
        return nn.functional.cross_entropy(
            func.functional_call(head, weights, features[None]), target[None]
        )

    gradients_by_name = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(
        weights, features.detach(), targets
    )
    for i in range(3):
        expected = torch.autograd.grad(
            loss(dict(head.named_parameters()), features[i], targets[i]), list(head.parameters())
        )
        for (key, gradients), right in zip(gradients_by_name.items(), expected, strict=True):
            torch.testing.assert_close(gradients[i], right, msg=key)
    tangent = torch.randn_like(features)
    values, forward = func.jvp(head, (features.detach(),), (tangent,))
    torch.testing.assert_close(values, head(features))
    upstream = torch.randn_like(values)
    (backward,) = torch.autograd.grad(head(features), features, upstream)
    torch.testing.assert_close((forward * upstream).sum(), (backward * tangent).sum())


@pytest.mark.parametrize(
    ("name", "training"),
    # torch.jit does not save the dropout's seed.
    [case for case in product(LOSSES, (True, False)) if case != ("godin_dropout", True)],
)
def test_a_saved_trace_gives_the_same_logits_and_gradients(name, training):
    head, features, targets, _ = tensors_of(name, training)
    written = io.BytesIO()
    torch.jit.save(torch.jit.trace(head, features[:5], check_trace=False), written)
    written.seek(0)
    compare(torch.jit.load(written), head, features, targets)


# A strict export, by dynamo, takes seconds for each head.
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
@EACH
def test_an_exported_program_gives_the_same_logits_and_gradients(name, training, strict):
    head, features, targets, _ = tensors_of(name, training)
    torch._dynamo.reset()
    # A batch norm in training is exported for one batch size only.
    fixed = training and any(isinstance(module, nn.BatchNorm1d) for module in head.modules())
    shapes = None if fixed else {"features": {0: torch.export.Dim("batch", min=2)}}
    program = torch.export.export(
        head, (features[: B if fixed else 5].detach(),), dynamic_shapes=shapes, strict=strict
    )
    compare(program.module(), head, features, targets)


@EACH
def test_a_graph_of_torch_fx_has_the_head_as_one_node(name):
    head, features, targets, _ = tensors_of(name)
    network = nn.Sequential(nn.Linear(D, D), nn.ReLU(), head).double()
    traced = fx.symbolic_trace(network)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == [
        "0",
        "1",
        "2",
    ]
    compare(traced, network, features, targets)


def compare(one, other, features, targets):
    """Check that two forms of a network give the same logits and the same gradients."""
    results = []
    for network in (one, other):
        features.grad = None
        network.zero_grad()
        torch.manual_seed(0)
        logits = network(features)
        nn.functional.cross_entropy(logits, targets).backward()
        gradients = {key.replace("_", "."): value.grad for key, value in network.named_parameters()}
        results.append((logits.detach(), features.grad, gradients))
    torch.testing.assert_close(*results)


def test_heads_that_torch_func_cannot_train_raise_an_error():
    head, features, targets, _ = tensors_of("sngp")
    with pytest.raises(
        RuntimeError, match="SNGP sums its training images in buffers.*evaluation mode"
    ):
        func.grad(lambda features: head(features).sum())(features.detach())
    duq, features, targets, _ = tensors_of("duq")
    func.grad(lambda features: duq(features).sum())(features.detach())  # stores no embeddings
    with pytest.raises(RuntimeError, match="centroids move after a forward pass"):
        duq.move_centroids(targets)


@pytest.mark.parametrize("name", ["isomax", "dismax_nofpr"])
def test_a_compiled_head_refuses_second_derivatives(name):
    torch._dynamo.reset()
    head, features, _, _ = tensors_of(name)
    (gradient,) = torch.autograd.grad(
        torch.compile(head, backend="aot_eager")(features).sum(), features, create_graph=True
    )
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.square().sum().backward()


def test_torch_fx_needs_a_network_with_a_head():
    head = losses.IsoMaxPlusLossFirstPart(D, C)
    with pytest.raises(TypeError, match="a network with a head"):
        fx.symbolic_trace(head)
