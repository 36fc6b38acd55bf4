"""The words of the report, one sentence or two each."""

from utils.bins import BINS

# docs/how-each-number-is-defined.md has the equations.
GLOSSARY = {
    "ACC": "Accuracy: the share of test images whose class is predicted right.",
    "Adaptive ECE": "The ECE over bins that have equally many images.",
    "AUPR in": "AUPR with test images as the positive class.",
    "AUPR out, AUPR": "The area under the precision-recall curve (average precision) with OOD "
    "images as the positive class; it depends on how many images each set has.",
    "AURC": "Area under the risk-coverage curve: the mean risk over all coverages; 0 is best, but "
    "only a network without wrong answers can reach it.",
    "AUROC": "Area under the receiver operating characteristic: the chance that a test image "
    "scores above an OOD image, where a tie counts half: 50 % is a guess, 100 % is perfect.",
    "AUROC-f": "The chance that a right answer scores above a wrong one.",
    "Brier": "The mean squared distance of the probabilities from 1 for the right class and 0 for "
    "the others; 0 is best.",
    "Class-wise ECE": "The ECE of each class's probability, as a mean over the classes.",
    "Confidence": "The largest probability of an image.",
    "Coverage": "The share of all images that a threshold accepts.",
    "Detector": "A score that is added to a trained network; higher means more like the training "
    "images.",
    "DTACC": "Detection accuracy: the best mean of the share of test images accepted and of OOD "
    "images rejected, over all thresholds.",
    "ECE": "Expected calibration error: the mean distance between confidence and accuracy over "
    f"{BINS} bins of confidence; 0 is perfectly calibrated.",
    "Eff": "Inference efficiency: images classified and scored in a second, in percent of "
    "SoftMax's.",
    "ES": "Entropic score: minus the entropy of the probabilities.",
    "Failure": "An accepted image with a wrong answer; where OOD images are counted too, also an "
    "accepted OOD image.",
    "FPR (in a method's name)": "Fractional probability regularization: training on mosaics of "
    "images too.",
    "FPR@95": "The share of test images that are rejected at the threshold that rejects 95 % of "
    "the OOD images; OOD images are the positive class.",
    "FPR@95-f": "The share of wrong answers that are accepted by the threshold that accepts 95 % "
    "of the right answers.",
    "Head, body": "The head is the last layer, which a loss brings: it turns features into "
    "logits. The body is the rest of the network: it turns images into features.",
    "Held-out protocol": "The epoch is chosen and the temperature fitted on validation images: the "
    "data set's own, or some of the training images. The test images are used once.",
    "MDS": "Minimum-distance score: the largest logit; with a loss of distances it is minus the "
    "smallest distance.",
    "MMLEPS": "MMLES plus MPS.",
    "MMLES": "Max-mean logit entropy score: MMLS plus ES; the score of DisMax.",
    "MMLS": "Max-mean logit score: the largest logit plus the mean logit.",
    "Mosaic": "An image put together from quarters of four training images; FPR trains on mosaics.",
    "MPS": "Maximum probability score: the largest probability. Elsewhere it is called MSP, "
    "maximum softmax probability.",
    "n": "The number of runs that a row is the mean of; they differ only in their seed.",
    "Near, far, very far": "How much an OOD set resembles the training images: other classes of "
    "the same kind are near, photographs of something else far, digits or noise very far. A set "
    "without a named role is far.",
    "NLL": "Negative log-likelihood: the mean of -log p of the right class; 0 is best.",
    "OOD": "Out of distribution: images of none of the classes that the network has learned.",
    "Own score": "The score that we use for a method, mostly that of its paper; the tables use it "
    "unless brackets name another one.",
    "Paper's protocol": "The epoch is chosen and the temperature fitted on the test images, as "
    "the paper's code did; the numbers are optimistic.",
    "Prototype": "The learned vector of a class; the loss measures the features' distance to it.",
    "Risk": "The share of failures among the accepted images.",
    "Run": "One training of a network with one seed, and the folder with its results; its record "
    "is the file metrics.json.",
    "Score": "A number for each image; a threshold accepts images that have at least this score.",
    "T": "The temperature: the logits are divided by it before the softmax; the fitted T makes "
    "the ECE smallest.",
    "TNR@95": "The share of OOD images rejected by the threshold that accepts 95 % of the test "
    "images.",
    "TPR": "True-positive rate: the share of in-distribution images accepted.",
    "±": "The standard deviation over the n runs.",
}
