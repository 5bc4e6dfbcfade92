"""Train an ensemble on a Ray cluster of two nodes, one of which is killed: python ray_cluster.py DATA CONFIG OUT."""

import sys
import threading
from pathlib import Path


def main() -> None:
    import ray
    from ray.cluster_utils import Cluster

    from whence.config import read_config
    from whence.data import read
    from whence.engine import Engine
    from whence.engine.ray_executor import Ray
    from whence.ensemble import train_ensemble

    data, config, out = map(Path, sys.argv[1:])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    killed: list[threading.Thread] = []

    def report(done: int, total: int) -> None:
        if not killed and 0 < done < total:
            killed.append(threading.Thread(target=cluster.remove_node, args=(lost,), kwargs={"allow_graceful": False}))
            killed[0].start()

    engine = Engine(report=report, executor=Ray(cluster.address))
    train_ensemble(read(data), out, members=6, config=read_config(config), engine=engine)
    killed[0].join()
    ray.shutdown()
    cluster.shutdown()
    print("whole, with a node lost")


if __name__ == "__main__":
    main()
