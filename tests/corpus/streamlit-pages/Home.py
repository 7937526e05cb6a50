import pandas as pd
import streamlit as st

from helpers.frames import numbers

st.set_page_config(page_title="Numbers", layout="wide")
st.title("Numbers")
st.sidebar.success("Select a page above.")

frame: pd.DataFrame = numbers()
st.metric("Sum", int(frame["n"].sum()))
