# initbench with PyTorch's CPU build. Needs no home folder, no write access to its own files, and runs as any user:
#   docker build -t initbench .
#   docker run --rm --user "$(id -u):$(id -g)" --read-only --tmpfs /tmp -v "$PWD:/work" initbench initbench experiment=quick
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY . /source
RUN python -m venv /opt/initbench && /opt/initbench/bin/pip install -c /source/constraints.txt /source

FROM python:3.13-slim
COPY --from=build /opt/initbench /opt/initbench
# what is kept between commands of one container; a volume at /tmp keeps it longer
ENV PATH=/opt/initbench/bin:$PATH PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["python", "-m"]
CMD ["initbench", "--help"]
