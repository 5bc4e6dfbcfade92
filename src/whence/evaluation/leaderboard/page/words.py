"""What the page says around its figures. No figure stands here: they all come from what was measured."""

from __future__ import annotations

HEAD = (
    "Every attribution method of Whence ([what they are](attribution.md)) by every measure that Whence has, on models "
    "that were trained again to know the truth. Random scores and likeness of pixels are rows like any other."
)

#: What has to be known to read the figures: a name, and what is said of it.
READING = (
    (
        "Figures",
        "In brackets stands the 95% interval: over subsets where retrained models are compared, else over queries. It "
        "says how far a figure may be off because of which of them were taken, not what other data or other models "
        "would give. *By chance* is what a random order gives on average, *ceiling* the most that can be reached. More "
        "is better, but for seconds, recurring images and false attribution. A dash stands where nothing was measured "
        "or a method has no such figure.",
    ),
    (
        "LDS",
        "The linear datamodeling score. Models were trained anew on recorded random parts of the training images. For "
        "a query, the scores of the images in a part are added up; its LDS is the rank correlation, over the parts, of "
        "these sums with minus the measured loss. It is 1 if the scores put the parts in the right order, and the mean "
        "over queries is shown. *Held-out* queries are images that no model saw, *drawn* ones were drawn by the model.",
    ),
    (
        "What LDS doesn't say",
        "It is about large random parts of the data, far from leaving out one image or one artist; about sums over "
        "many images, so little about the few at the top that somebody would want to name; about the denoising loss, "
        "not about how the picture looks; and about the mean over training seeds, not about the one model that drew "
        "the picture.",
    ),
    (
        "Never LDS alone",
        "A re-benchmark by the first author of DAS, not yet published "
        "([SNR-LDS](https://github.com/Jinxu-Lin/SNR-LDS)), found that the method with the better LDS was the one "
        "whose deletions hurt the queries less. So a method is to be trusted where it does well by several measures, "
        "deletion and false attribution among them, and one that is good by LDS alone is not.",
    ),
    (
        "Plain and squared",
        "Plain scores add up: what a contributor is owed is the sum over their images. *Squared* adds up each score "
        "times its absolute value. That keeps the sign and gives large scores more weight; small ones are mostly noise "
        "of the draws, so many methods gain. The squares of two images don't add up to that of both, so they are no "
        "base for credit, and what squaring gains is not a better method: compare plain with plain.",
    ),
    (
        "Ceiling",
        "The same part of the images trained with another seed gives another loss. How well two seeds agree tells what "
        "a perfect prediction would score against the mean of as many seeds as were measured: the ceiling. *Of the "
        "ceiling* is the plain LDS divided by it, on held-out and on drawn queries. Only where the run is repeated "
        "draw for draw is there no such noise.",
    ),
    (
        "Same run",
        "Deterministic LDS: the one recorded run is repeated with its seed, order and draws, the removed images at "
        "weight zero. This is what influence functions estimate: what this model would have become. The other LDS asks "
        "what training in general makes of other data. A method may answer one question and not the other, and the "
        "more is removed, the less a first-order estimate has to say.",
    ),
    (
        "Deletion",
        "The images that a method names first for a query are removed and a model is trained without them; beside it "
        "one without as many random images of the same classes, with the same seeds, since every removal and every "
        "seed changes the loss. Only what goes beyond the random removal counts. It takes a training for each query, "
        "so it is known for few methods and few queries.",
    ),
    (
        "Differences",
        "Methods are compared on the same subsets and queries, so two methods whose intervals overlap may still "
        "differ: what counts is the interval of *difference to best*. Where it holds zero, there are too few subsets "
        "to say which of the two is better, and their order in the table means nothing. It is an interval for one "
        "comparison that was chosen before looking; of many rows some will seem to differ by luck.",
    ),
    (
        "Likeness and random scores",
        "Rows of pixels know nothing of the model. Where a method isn't above them, its gradients have told nothing "
        "that the pictures don't. Tracing a training image back to itself they pass by definition: it checks that a "
        "method works at all, not that it is right about other images.",
    ),
)

#: Title of each section, and what is asked there.
TITLES = {
    "lds": (
        "Linear datamodeling score",
        "Do the scores predict which parts of the data make models of lower loss? Plain and squared, and the variant "
        "that papers publish as mean ± std, which is the mean over resamples of the subsets and so a little lower.",
    ),
    "choices": (
        "How the damping was chosen",
        "On subsets and queries that no other section reports on. Papers choose it on the figure that they report, "
        "which makes that figure the best of several tries.",
    ),
    "draws": (
        "More draws",
        "A gradient is the mean over draws of timestep and noise. What do more of them buy? After the interval stands "
        "how many times the first figure of its row each one is.",
    ),
    "deterministic": (
        "The same run without some images",
        "Do the scores predict what this very run would have become? The heads say how much of the data was removed.",
    ),
    "deletion": (
        "Deletion",
        "Does removing what a method names hurt the query more than removing random images of the same classes?",
    ),
    "measures": (
        "Measures of the methods' papers",
        "Are different queries traced to different images, to their own class, to themselves? Do images that don't "
        "belong stand out by their influence on themselves? Do other draws give the same order?",
    ),
    "calibration": (
        "Calibration",
        "Do losses change by as much as was predicted? Rank correlations don't ask that.",
    ),
    "ensemble": (
        "Exact losses of an encoded ensemble",
        "An encoded ensemble knows exactly what its loss would be without each image. How well do estimates agree, and "
        "do they let go of an image that is not there any more (false attribution, less is better)?",
    ),
    "runtime": (
        "Runtime",
        "What each method costs by itself. Methods that look at the same gradients cost less together than their sum.",
    ),
    "ablation": (
        "The way to the default method",
        "The steps in order, each with the LDS that it gives, plain and squared, and what it costs. The command above "
        "doesn't measure this part again.",
    ),
}

#: Head of the first column of the tables of curves, by section.
ALONG = {"choices": "method, by damping", "draws": "method, by draws"}
