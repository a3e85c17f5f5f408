# docker build -t mmg .                        with CUDA; then  docker run --rm --gpus all --shm-size 8g mmg python tracking/test.py ...
# docker build -t mmg --build-arg TORCH=cpu .  for CPUs alone, some 5 GB less
# Data and results stay outside: -v /data:/data -v $PWD/runs:/mmg/runs -v $PWD/results:/mmg/results -e MMG_LASOT=/data/lasot
FROM python:3.11-slim
ARG TORCH=cuda
# What OpenCV's wheel asks of the system, and a compiler for torch.compile.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /mmg
COPY requirements.txt constraints.txt ./
# The packages first, so that another edit of the code does not install them again; the last line of the file is the project.
RUN if [ "$TORCH" = cpu ]; then \
      pip install --no-cache-dir -c constraints.txt torch torchvision --index-url https://download.pytorch.org/whl/cpu; \
    fi \
 && grep -v '^-e' requirements.txt > packages.txt \
 && pip install --no-cache-dir -c constraints.txt -r packages.txt av onnxruntime onnxscript
COPY . .
RUN pip install --no-cache-dir --no-deps -e .
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["python", "tracking/demo.py", "--help"]
