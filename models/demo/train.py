#!/usr/bin/env python3
"""Makes the small model that comes along, from nothing, in about an hour on two cores.

    pip install -r models/demo/requirements.txt
    python models/demo/train.py build/demo
    build/atelier model import build/demo/out/demo.safetensors -o models/demo/demo.h5

Started again it goes on where it was. In turn: the autoencoder (train_vae.py); as soon as its
latents stay as they are, beside the rest of that, text encoders and UNet (train_unet.py); how well
they draw (measure.py); a diffusers folder and one safetensors file (save.py).
"""
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def start(script, *words):
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    return subprocess.Popen([sys.executable, os.path.join(HERE, script), *words])


def finish(process):
    if process.wait() != 0:
        sys.exit(f"{process.args[1]} ended with status {process.returncode}")


def main(folder):
    vae = start("train_vae.py", folder)
    while vae.poll() is None and not os.path.exists(os.path.join(folder, "vae_done.pt")):
        time.sleep(1)
    if vae.poll() not in (None, 0):
        finish(vae)
    unet = start("train_unet.py", folder)
    finish(vae)
    finish(unet)
    finish(start("measure.py", folder))
    finish(start("save.py", folder, os.path.join(folder, "out")))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
