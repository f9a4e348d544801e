"""What ``perfkit dashboard`` serves; its arguments are folders and files of results."""

from __future__ import annotations

import sys

import streamlit as st

from perfkit.dashboard import view

st.set_page_config(page_title="perfkit", layout="wide")
view.prepare(sys.argv[1:])
st.navigation(
    [
        st.Page("pages/overview.py", title="Overview", default=True),
        st.Page("pages/compare.py", title="Compare"),
        st.Page("pages/history.py", title="History"),
        st.Page("pages/pareto.py", title="Pareto"),
        st.Page("pages/ablation.py", title="Fused attention"),
        st.Page("pages/batching.py", title="Batching"),
    ],
    position="top",
).run()
