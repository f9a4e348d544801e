"""The dashboard's pages, scripts that Streamlit runs; each shows what the sidebar picked."""
