"""Audits: what a model has of its training data, and what of the data stands out.

data_audit, make_data_audit    a table of every training image: loss, self-influence, duplicates, captions, visits
leave_out                      lists of training images for trainers, without those that stand out most
fits, self_influence           how a model, or an ensemble, fits examples
membership, membership_test    were pictures in the training data? chances, with the alarms on controls
memorisation, comparison       drawn pictures that are training images
"""
