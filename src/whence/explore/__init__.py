"""The explorer: pages about an ensemble, scores or credit, served on this machine while somebody looks at them.

collection                    what pages read: pictures, training images, and readings of a picture
ensemble_collection, score_collection, credit_collection    the three kinds of it
reading, training, upload     a reading and its rows; training images; pictures that a visitor brings
job, work                     one drawing at a time, with progress; what an ensemble draws or measures on demand
page, picture_page, search_page, work_page, scatter    from a collection to the values of a template and to a table
guard, request, routes, server    what is refused; the parts of a request; addresses; the process
"""
