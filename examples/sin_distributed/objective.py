import math


def objective(params):
    x = params['x']
    y = params['y']
    return math.sin(x) * math.cos(y)


if __name__ == '__main__':
    import shadho_worker

    shadho_worker.run(objective)
